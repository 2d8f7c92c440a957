"""segkit build-dataset follows photos that were renamed, counts those that are gone, and removes them on demand."""

import shutil
from pathlib import Path

import pytest

from segkit.dataset import Dataset
from tests.commands.test_build_dataset import build, hashes
from tests.conftest import Segkit


@pytest.fixture
def photos(six_photos: Path, tmp_path: Path) -> Path:
    """A folder of six photos that may be changed."""
    return Path(shutil.copytree(six_photos, tmp_path / "photos"))


OPTIONS = ("--segmenter", "toy", "--captioner", "toy", "--caption-tokens", "6")


def sources(out: Path) -> dict[str, str]:
    """Return the source of each triple by key."""
    return {triple.key: triple.source for triple in Dataset.open(out)}


def test_a_renamed_photo_is_followed(segkit: Segkit, photos: Path, tmp_path: Path) -> None:
    """By its bytes: the triple gets the new name, and nothing is done again; the next run changes nothing."""
    out = tmp_path / "out"
    build(segkit, photos, out, *OPTIONS)
    before = sources(out)
    (photos / "attic").mkdir()
    (photos / "0.jpg").rename(photos / "attic" / "roof.jpg")
    for old, new in (("1.jpg", "x"), ("2.jpg", "1.jpg"), ("x", "2.jpg")):  # two photos swap their names
        (photos / old).rename(photos / new)

    moved = build(segkit, photos, out, *OPTIONS)
    files = hashes(out)
    again = build(segkit, photos, out, *OPTIONS)

    new_names = {"0.jpg": "attic/roof.jpg", "1.jpg": "2.jpg", "2.jpg": "1.jpg"}
    assert sources(out) == {key: new_names.get(source, source) for key, source in before.items()}
    assert (moved["renamed"], moved["kept"], moved["made"], moved["rejected"], moved["gone"]) == (3, 6, 0, {}, 0)
    assert (again["renamed"], again["kept"], again["rejected"]) == (0, 6, {})
    assert hashes(out) == files


def test_photos_that_are_gone_are_counted_and_removed_on_demand(segkit: Segkit, photos: Path, tmp_path: Path) -> None:
    """A triple with a person's words stays until --force; with --limit or another folder nothing is removed."""
    out, options = tmp_path / "out", OPTIONS
    build(segkit, photos, out, *options)
    segkit("caption", out, "--edit", "5.jpg", "my own words")
    for name in ("1.jpg", "5.jpg"):
        (photos / name).unlink()

    limited = build(segkit, photos, out, *options, "--limit", 2)
    counted = segkit("build-dataset", photos, "-o", out, *options)
    with_limit = segkit("build-dataset", photos, "-o", out, *options, "--prune", "--limit", 2)
    pruned = segkit("build-dataset", photos, "-o", out, *options, "--prune")
    left = sorted(sources(out).values())
    forced = build(segkit, photos, out, *options, "--prune", "--force")

    assert limited["gone"] == 0
    assert "Triples whose photos are gone: 2 (1.jpg, 5.jpg). --prune removes those that no person" in counted.out
    assert with_limit.code == 2
    assert "photos beyond the limit would count as gone" in with_limit.err
    assert "Removed, because their photos are gone: 1 (1.jpg)." in pruned.out.splitlines()
    assert "--force with --prune removes them too." in pruned.out
    assert left == ["0.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"]
    assert (forced["pruned"], forced["gone"], len(sources(out))) == (1, 0, 4)
    assert segkit("check", out).code == 0


def test_the_wrong_folder_removes_nothing(segkit: Segkit, photos: Path, tmp_path: Path) -> None:
    """A folder with one of six photos is refused, in one line with what to do."""
    out, other = tmp_path / "out", tmp_path / "other"
    build(segkit, photos, out, *OPTIONS)
    other.mkdir()
    shutil.copy(photos / "3.jpg", other)

    refused = segkit("build-dataset", other, "-o", out, *OPTIONS, "--prune")

    assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert "5 of 6 triples" in refused.err
    assert "pass --force with --prune" in refused.err
    assert len(sources(out)) == 6


def test_a_photo_that_cannot_be_read_is_not_gone(segkit: Segkit, photos: Path, tmp_path: Path) -> None:
    """A file that is passed over or cannot be opened still has its triple."""
    out = tmp_path / "out"
    build(segkit, photos, out, *OPTIONS)
    (photos / "0.jpg").rename(tmp_path / "0.jpg")
    (photos / "0.jpg").symlink_to(tmp_path / "0.jpg")
    (photos / "1.jpg").unlink()
    (photos / "1.jpg").mkdir()

    pruned = build(segkit, photos, out, *OPTIONS, "--prune")

    assert (pruned["gone"], pruned["pruned"], len(sources(out))) == (0, 0, 6)


def test_the_style_is_remembered(segkit: Segkit, photos: Path, tmp_path: Path) -> None:
    """Photos added later get the suffix of the first build, and another one is applied to all without a captioner."""
    out = tmp_path / "out"
    (photos / "5.jpg").rename(tmp_path / "5.jpg")
    build(segkit, photos, out, *OPTIONS, "--suffix", ", 35mm")
    (tmp_path / "5.jpg").rename(photos / "5.jpg")

    build(segkit, photos, out, *OPTIONS)
    first = [triple.text for triple in Dataset.open(out)]
    changed = segkit("build-dataset", photos, "-o", out, *OPTIONS, "--suffix", ", film")

    assert all(text.endswith(", 35mm") for text in first)
    assert [triple.text for triple in Dataset.open(out)] == [text.replace("35mm", "film") for text in first]
    assert "Prompts composed again in the new style, without a captioner: 6." in changed.out.splitlines()
