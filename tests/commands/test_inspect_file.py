"""segkit inspect, through the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import Segkit
from tests.trainer.conftest import SMALL, randomised
from trainer.checkpoints import ldm


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet in several formats, and one that is broken."""
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
    ("name", "told"),
    [
        ("a.pth", "a ControlNet with cross-attention width 24, fp32, 338 tensors"),
        ("half.safetensors", "fp16"),
        ("folder", "diffusion_pytorch_model.safetensors: a ControlNet"),
    ],
)
def test_a_sound_file_is_told(segkit: Segkit, files: Path, name: str, told: str) -> None:
    """Kind, width and precision in a line; exit code 0."""
    done = segkit("inspect", files / name)
    assert (done.code, done.err) == (0, "")
    assert told in done.out
    assert "All numbers are finite" in done.out


def test_what_a_file_says_of_itself_is_text(segkit: Segkit, files: Path) -> None:
    """Metadata is shown as it is."""
    assert "<b>abc" in segkit("inspect", files / "half.safetensors").out


def test_faults_are_told(segkit: Segkit, files: Path) -> None:
    """Exit code 1, as a line and as JSON."""
    shown, told = segkit("inspect", files / "nan.safetensors"), segkit("inspect", files / "nan.safetensors", "--json")

    found = json.loads(told.out)
    assert (shown.code, told.code) == (1, 1)
    assert "1 tensors NaN or infinite, such as time_embed.0.bias" in shown.out
    assert (found["kind"], found["layout"], found["sound"]) == ("controlnet", "ldm", False)
    assert found["faults"]["broken"] == ["time_embed.0.bias"]


def test_a_released_size_is_compared(segkit: Segkit, tmp_path: Path) -> None:
    """Of a ControlNet that is as wide as SD1.5's it is known what should be in it."""
    state: dict[str, Any] = {
        "zero_convs.0.0.weight": torch.ones(320, 320, 1, 1, dtype=torch.float16),
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.ones(320, 768, dtype=torch.float16),
    }
    save_file(state, tmp_path / "a.safetensors")

    done = segkit("inspect", tmp_path / "a.safetensors", "--json")

    found = json.loads(done.out)
    assert (done.code, found["family"], found["compared"]) == (1, "SD1", True)
    assert len(found["faults"]["missing"]) == 338
    assert found["faults"]["shapes"] == []


@pytest.mark.parametrize("name", ["nothing.pth", "text.pth", "empty"])
def test_what_is_no_checkpoint_ends_with_two(segkit: Segkit, tmp_path: Path, name: str) -> None:
    """One line on the error stream."""
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty").mkdir()

    done = segkit("inspect", tmp_path / name)

    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
