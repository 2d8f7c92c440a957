"""segkit export: a trained ControlNet as another kind of file."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel

from tests.conftest import Segkit
from trainer.checkpoints import export, identify, ldm, load, safe_load


@pytest.fixture
def trained(base: Path, tmp_path: Path) -> Path:
    """The diffusers folder of a ControlNet whose zero convolutions are zero no more."""
    model = load.load_controlnet("fresh", load.load_base(str(base)), seed=3)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=draw) * 0.01)
    export.write_folder(tmp_path / "trained", model)
    return tmp_path / "trained"


@pytest.mark.parametrize(("layout", "name"), [("ldm", "out.safetensors"), ("pth", "out.pth"), ("diffusers", "out")])
def test_weights_survive_every_layout(trained: Path, tmp_path: Path, segkit: Segkit, layout: str, name: str) -> None:
    """Each kind of file holds the weights, bit by bit, in fp32 where that is asked for."""
    done = segkit("export", trained, "--to", layout, "-o", tmp_path / name, "--full", "--json")

    assert (done.code, json.loads(done.out)["written"]) == (0, str(tmp_path / name))
    model = ControlNetModel.from_pretrained(trained, local_files_only=True)
    path = safe_load.weights_file(tmp_path / name) if layout == "diffusers" else tmp_path / name
    again = ldm.load(safe_load.read(path), dict(model.config)).state_dict()
    assert all(torch.equal(again[key], weight) for key, weight in model.state_dict().items())


def test_files_are_fp16_if_nothing_is_said(trained: Path, tmp_path: Path, segkit: Segkit) -> None:
    """As A1111 and ComfyUI expect them."""
    assert segkit("export", trained, "--to", "ldm").code == 0
    written = trained / "trained-export.safetensors"
    assert identify.identify(safe_load.read(written)).precision == "fp16"


def test_mistakes_are_told_in_one_line(trained: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A name that is taken, an ending of another kind, a folder without a ControlNet; nothing is written over."""
    (tmp_path / "mine.pth").write_text("mine")
    taken = segkit("export", trained, "--to", "pth", "-o", tmp_path / "mine.pth")
    ending = segkit("export", trained, "--to", "ldm", "-o", tmp_path / "out.pth")
    nothing = segkit("export", tmp_path, "--to", "ldm")

    assert "is there already. Name another with -o, or type --overwrite" in taken.err
    assert (tmp_path / "mine.pth").read_text() == "mine"
    assert "expected a name that ends in .safetensors" in ending.err
    assert "no ControlNet in it" in nothing.err
    assert [each.code for each in (taken, ending, nothing)] == [2, 2, 2]
    assert segkit("export", trained, "--to", "pth", "-o", tmp_path / "mine.pth", "--overwrite").code == 0
