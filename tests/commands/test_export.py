"""segkit export, through the command line."""

import json
from pathlib import Path

import pytest

from segkit.models import hub
from tests.conftest import Segkit
from tests.trainer.conftest import SMALL, randomised


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small ControlNet in diffusers format."""
    with hub.quiet():
        randomised(SMALL).save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def test_the_written_path_is_printed(segkit: Segkit, folder: Path, tmp_path: Path) -> None:
    """As a line or as JSON; without -o the file lies in the run."""
    shown = segkit("export", folder, "--to", "ldm")
    as_json = segkit("export", folder, "--to", "pth", "-o", tmp_path / "net.pth", "--json")

    assert (shown.code, shown.err) == (0, "")
    assert shown.out == f"Written: {folder / 'net-export.safetensors'}\n"
    assert json.loads(as_json.out) == {"schema": 1, "written": str(tmp_path / "net.pth")}
    assert (tmp_path / "net.pth").stat().st_size > 1000


def test_full_files_are_twice_as_large(segkit: Segkit, folder: Path, tmp_path: Path) -> None:
    """--full writes fp32, and --overwrite replaces the file of an earlier call."""
    file = tmp_path / "net.safetensors"
    sizes = []
    for options in ([], ["--full", "--overwrite"]):
        assert segkit("export", folder, "--to", "ldm", "-o", file, *options).code == 0
        sizes.append(file.stat().st_size)

    assert 1.7 < sizes[1] / sizes[0] < 2


@pytest.mark.parametrize("options", [[], ["--to", "onnx"]])
def test_the_format_must_be_named(segkit: Segkit, tmp_path: Path, options: list[str]) -> None:
    """The message lists the formats."""
    done = segkit("export", tmp_path, *options)

    assert done.code == 2
    for name in ("ldm", "diffusers", "pth"):
        assert name in done.err
