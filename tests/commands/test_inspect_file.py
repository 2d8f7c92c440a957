"""segkit inspect, through the command line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import Segkit
from tests.trainer.conftest import SMALL, randomised
from trainer.checkpoints import ldm


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet in several formats, and a broken one."""
    folder = tmp_path_factory.mktemp("files")
    model = randomised(SMALL)
    ldm.save_ldm(model, folder / "a.pth")
    ldm.save_ldm(model, folder / "half.safetensors", torch.float16, {"palette": "<b>abc"})
    model.save_pretrained(folder / "folder")
    state = ldm.to_state(model)
    state["time_embed.0.bias"][3] = torch.nan
    save_file(state, folder / "nan.safetensors")
    return folder


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("a.pth", "a ControlNet with cross-attention width 24, fp32, 338 tensors"),
        ("half.safetensors", "fp16"),
        ("folder", "diffusion_pytorch_model.safetensors: a ControlNet"),
    ],
)
def test_a_sound_file_is_described(segkit: Segkit, files: Path, name: str, description: str) -> None:
    """One line states kind, width and precision; the exit code is 0."""
    done = segkit("inspect", files / name)
    assert (done.code, done.err) == (0, "")
    assert description in done.out
    assert "ll values are finite" in done.out


def test_a_base_for_another_task_is_named(segkit: Segkit, tmp_path: Path) -> None:
    """An inpainting base is called that, and not recommended as a base."""
    name = "model.diffusion_model.input_blocks.0.0.weight"
    save_file({name: torch.randn(4, 9, 3, 3)}, tmp_path / "inpainting.safetensors")
    done = segkit("inspect", tmp_path / "inpainting.safetensors")
    assert (done.code, done.err) == (0, "")
    assert "made for inpainting (9 input channels)" in done.out
    assert "segkit needs a text-to-image base" in done.out


@pytest.mark.parametrize("content", [{}, {"a": torch.ones(0)}])
def test_a_file_without_tensors_fails(segkit: Segkit, tmp_path: Path, content: dict[str, torch.Tensor]) -> None:
    """A header without values is not a checkpoint: exit code 2, in both formats."""
    save_file(content, tmp_path / "empty.safetensors")
    torch.save(content, tmp_path / "empty.pth")
    for name in ("empty.safetensors", "empty.pth"):
        done = segkit("inspect", tmp_path / name)
        assert (done.code, done.out) == (2, "")
        assert "contains no tensors" in done.err


def test_metadata_is_shown_verbatim(segkit: Segkit, files: Path) -> None:
    """Metadata is plain text, never markup."""
    assert "<b>abc" in segkit("inspect", files / "half.safetensors").out


def test_faults_are_reported(segkit: Segkit, files: Path) -> None:
    """Faults give exit code 1 and are printed as a line or as JSON."""
    shown, as_json = (
        segkit("inspect", files / "nan.safetensors"),
        segkit("inspect", files / "nan.safetensors", "--json"),
    )

    report = json.loads(as_json.out)
    assert (shown.code, as_json.code) == (1, 1)
    assert "1 tensor NaN or infinite, such as time_embed.0.bias" in shown.out
    assert (report["kind"], report["layout"], report["sound"]) == ("controlnet", "ldm", False)
    assert report["faults"]["broken"] == ["time_embed.0.bias"]


def test_a_known_size_is_compared(segkit: Segkit, tmp_path: Path) -> None:
    """A ControlNet of SD1.5's width is compared with the tensors of the released one."""
    state: dict[str, Any] = {
        "zero_convs.0.0.weight": torch.ones(320, 320, 1, 1, dtype=torch.float16),
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.ones(320, 768, dtype=torch.float16),
    }
    save_file(state, tmp_path / "a.safetensors")

    done = segkit("inspect", tmp_path / "a.safetensors", "--json")

    report = json.loads(done.out)
    assert (done.code, report["family"], report["compared"]) == (1, "SD1", True)
    assert len(report["faults"]["missing"]) == 338
    assert report["faults"]["shapes"] == []


@pytest.mark.parametrize("name", ["nothing.pth", "text.pth", "empty"])
def test_other_files_give_exit_code_2(segkit: Segkit, tmp_path: Path, name: str) -> None:
    """A path that is not a checkpoint gives one line on stderr."""
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty").mkdir()

    done = segkit("inspect", tmp_path / name)

    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1


def test_a_base_folder_is_described(segkit: Segkit, base: Path) -> None:
    """Its networks are inspected together, and the prediction type is that of its scheduler."""
    done = segkit("inspect", base)

    assert (done.code, done.err) == (0, "")
    assert f"{base}: a Stable Diffusion with cross-attention width" in done.out
    assert "A diffusers folder with scheduler, text_encoder, tokenizer, unet, vae." in done.out
    assert "Prediction type: epsilon, as its scheduler says." in done.out
    assert segkit("inspect", "toy").code == 0
    assert "a Stable Diffusion of SDXL, without a ControlNet, fp16" in segkit("inspect", "toy-sdxl").out


def test_a_damaged_network_of_a_base_folder_is_named(segkit: Segkit, base: Path, tmp_path: Path) -> None:
    """A fault is reported with the network, and a missing network is refused."""
    folder = shutil.copytree(base, tmp_path / "base")
    weights = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    weights["encoder.conv_in.weight"][0] = torch.nan
    save_file(weights, folder / "vae" / "diffusion_pytorch_model.safetensors")
    faulty = segkit("inspect", folder)
    shutil.rmtree(folder / "vae")
    incomplete = segkit("inspect", folder)

    assert (faulty.code, incomplete.code) == (1, 2)
    assert "1 tensor NaN or infinite, such as vae: encoder.conv_in.weight" in faulty.out
    assert "contains no vae" in incomplete.err
