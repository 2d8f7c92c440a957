"""segkit export converts a trained ControlNet to another layout."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel

from tests.conftest import Segkit
from trainer.checkpoints import export, identify, ldm, load, safe_load


@pytest.fixture
def trained(base: Path, tmp_path: Path) -> Path:
    """The diffusers folder of a ControlNet whose zero convolutions are no longer zero."""
    model = load.load_controlnet("fresh", load.load_base(str(base)), seed=3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.01)
    export.write_folder(tmp_path / "trained", model)
    return tmp_path / "trained"


@pytest.mark.parametrize(("layout", "name"), [("ldm", "out.safetensors"), ("pth", "out.pth"), ("diffusers", "out")])
def test_weights_survive_every_layout(trained: Path, tmp_path: Path, segkit: Segkit, layout: str, name: str) -> None:
    """With --full every layout holds the weights bit for bit."""
    done = segkit("export", trained, "--to", layout, "-o", tmp_path / name, "--full", "--json")

    assert (done.code, json.loads(done.out)["written"]) == (0, str(tmp_path / name))
    model = ControlNetModel.from_pretrained(trained, local_files_only=True)
    path = safe_load.weights_file(tmp_path / name) if layout == "diffusers" else tmp_path / name
    again = ldm.load(safe_load.read(path), dict(model.config)).state_dict()
    assert all(torch.equal(again[key], weight) for key, weight in model.state_dict().items())


def test_files_are_fp16_by_default(trained: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Without --full a file is written in fp16, as A1111 and ComfyUI expect."""
    assert segkit("export", trained, "--to", "ldm").code == 0
    written = trained / "trained-export.safetensors"
    assert identify.identify(safe_load.read(written)).precision == "fp16"


def test_wrong_use_is_refused(trained: Path, tmp_path: Path, segkit: Segkit) -> None:
    """An existing output, a wrong extension or a folder without a ControlNet is refused; nothing is overwritten."""
    (tmp_path / "mine.pth").write_text("mine")
    existing = segkit("export", trained, "--to", "pth", "-o", tmp_path / "mine.pth")
    extension = segkit("export", trained, "--to", "ldm", "-o", tmp_path / "out.pth")
    empty = segkit("export", tmp_path, "--to", "ldm")

    assert "already exists. Choose another name, or pass --overwrite" in existing.err
    assert (tmp_path / "mine.pth").read_text() == "mine"
    assert "expected a name that ends in .safetensors" in extension.err
    assert "contains no ControlNet" in empty.err
    assert [result.code for result in (existing, extension, empty)] == [2, 2, 2]
    assert segkit("export", trained, "--to", "pth", "-o", tmp_path / "mine.pth", "--overwrite").code == 0
