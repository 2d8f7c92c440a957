"""segkit build-dataset, end to end through the command line, on small networks of the real architectures."""

import json
from pathlib import Path

from tests.conftest import Segkit


def hashes(folder: Path) -> dict[str, bytes]:
    """Return every file of a dataset but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_photos_become_checked_triples(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """A folder of photos becomes a dataset in which segkit check finds no fault."""
    out = tmp_path / "out"

    built = segkit("build-dataset", six_photos, "-o", out, *build_options, "--json")
    checked = segkit("check", out, "--json")

    outcome = json.loads(built.out)
    assert (built.code, outcome["found"], outcome["made"]) == (0, 6, 6)
    assert checked.code == 0
    assert json.loads(checked.out)["triples"] == 6
    assert [problem for problem in json.loads(checked.out)["problems"] if problem["severity"] == "error"] == []


def test_running_again_changes_nothing(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """The same command again works on nothing and leaves every file as it was, byte for byte."""
    out = tmp_path / "out"
    segkit("build-dataset", six_photos, "-o", out, *build_options)
    before = hashes(out)

    again = segkit("build-dataset", six_photos, "-o", out, *build_options, "--json")

    assert json.loads(again.out)["kept"] == 6
    assert hashes(out) == before
