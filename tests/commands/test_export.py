"""segkit export, through the command line."""

import json
from pathlib import Path

import pytest

from segkit.models import hub
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, render
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


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three triples, one of them held out."""
    folder = tmp_path_factory.mktemp("dataset")
    return build(render(folder / "photos", 3), folder / "rooms", split="val=0.4").folder


def test_a_dataset_is_exported(segkit: Segkit, dataset: Path, tmp_path: Path) -> None:
    """As lines or JSON; run again nothing is written, and other settings need --overwrite, which the message names."""
    options = ("export", dataset, "--to", "webdataset", "-o", tmp_path / "shards")
    shown = segkit(*options)
    again = json.loads(segkit(*options, "--json").out)
    other = segkit(*options, "--split", "val")
    replaced = segkit(*options, "--split", "val", "--overwrite")

    assert shown.code == other.code - 2 == replaced.code == 0
    assert shown.out.splitlines()[-1] == f"Written: {tmp_path / 'shards'}, 3 triples (train 2, val 1)"
    assert "export the splits one by one (--split train)" in " ".join(shown.out.split())
    assert (again["written"], again["new"], again["splits"]) == (str(tmp_path / "shards"), 0, {"train": 2, "val": 1})
    assert "with --split 'all', not 'val'" in other.err
    assert "replace it with --overwrite." in other.err
    assert replaced.out == f"Written: {tmp_path / 'shards'}, 1 triple (val 1)\n"


def test_what_was_restored_is_named(segkit: Segkit, dataset: Path, tmp_path: Path) -> None:
    """Run again, the command names the files that it wrote again; --verify also finds those of the same size."""
    options = ("export", dataset, "--to", "kohya", "-o", tmp_path / "out")
    segkit(*options)
    photo = sorted((tmp_path / "out" / "img").glob("*.jpg"))[0]
    data = photo.read_bytes()

    photo.unlink()
    shown = segkit(*options)
    photo.write_bytes(data[:-1] + b"\0")
    unread = json.loads(segkit(*options, "--json").out)
    verified = json.loads(segkit(*options, "--verify", "--json").out)

    assert f"Missing or damaged, and written again: 1 file (img/{photo.name})" in shown.out
    assert (unread["restored"], verified["restored"]) == ([], [f"img/{photo.name}"])
    assert photo.read_bytes() == data


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "pth"], "is a dataset, which --to pth cannot hold. Use --to webdataset"),
        (["--to", "kohya"], "--to kohya needs an output: a new folder."),
        (["--to", "kohya", "-o", "out", "--full"], "--full is for runs; --to kohya exports a dataset."),
        (["--to", "ldm", "--split", "val"], "split is for datasets; --to ldm exports a run."),
        (["--to", "kohya", "-o", "out", "--shard-size", "many"], "--shard-size 'many': expected a size such as"),
        (["--to", "kohya", "-o", "out", "-o", "other"], "passed 2 times"),
    ],
)
def test_source_and_format_must_fit(segkit: Segkit, dataset: Path, options: list[str], message: str) -> None:
    """What is meant for runs is refused for a dataset, and options for the other kind of source are named."""
    done = segkit("export", dataset, *options)

    assert done.code == 2
    assert message in " ".join(done.err.split())


def test_a_run_is_no_dataset(segkit: Segkit, tmp_path: Path) -> None:
    """A run's folder with a layout of datasets is refused with the formats for runs."""
    (tmp_path / "run.toml").write_text("")

    done = segkit("export", tmp_path, "--to", "kohya", "-o", tmp_path / "out")

    assert "is a run, which --to kohya cannot hold. Use --to ldm or diffusers or pth." in " ".join(done.err.split())
