"""build_dataset: photos are grouped into units and counted, and other photos, settings or networks are refused."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from segkit.build import supply, target, units
from segkit.build.arrival import Arrival, Candidate, Kept
from segkit.build.history import History
from segkit.build.outcome import Outcome
from segkit.build.settings import BuildSettings
from segkit.dataset import Dataset, Rejection
from segkit.palette import Palette
from segkit.photos import Decoded, Limits, fit
from segkit.toy import world
from tests.commands.test_build_dataset import build, hashes, lines
from tests.conftest import Models, Segkit
from tests.dataset.test_checks import swap_colors


def test_a_copy_that_sorts_first_does_not_displace_the_photo(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """The copy is rejected as identical, the triple keeps its source, and another run changes nothing."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(six_photos, photos)
    options = ("--segmenter", models.oneformer, "--no-caption")
    build(segkit, photos, out, *options)
    shutil.copy(photos / "3.jpg", photos / "0 copy of 3.jpg")

    added = build(segkit, photos, out, *options)
    before = hashes(out)
    again = build(segkit, photos, out, *options)

    assert (added["kept"], added["rejected"]) == (6, {"identical": 1})
    assert (again["kept"], again["rejected"]) == (6, {"identical": 1})
    assert json.loads((out / ".segkit" / "rejected.jsonl").read_text())["source"] == "0 copy of 3.jpg"
    assert hashes(out) == before


def test_limit_skips_the_rest_and_the_numbers_add_up(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """--limit 2 creates triples of the first two photos and counts the others as skipped."""
    outcome = build(segkit, six_photos, tmp_path / "out", *build_options, "--limit", 2)

    assert outcome["made"] + outcome["kept"] + sum(outcome["rejected"].values()) + outcome["skipped"]["limit"] == 6
    assert [line["source"] for line in lines(tmp_path / "out")] == ["0.jpg", "1.jpg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--size", "256"], "--size 512"), (["--photo-format", "png"], "--photo-format jpg")],
)
def test_settings_that_differ_from_the_datasets_are_refused(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path, options: list[str], message: str
) -> None:
    """A second build cannot mix sizes or formats; the message names the setting the dataset was built with."""
    out = tmp_path / "out"
    build(segkit, six_photos, out, *build_options)
    before = hashes(out)

    refused = segkit("build-dataset", six_photos, "-o", out, *build_options, *options)

    assert refused.code == 2
    assert message in refused.err
    assert hashes(out) == before


def test_another_segmenter_is_refused(
    segkit: Segkit, six_photos: Path, models: Models, build_options: list[str], tmp_path: Path
) -> None:
    """New photos must be segmented by the network that segmented the dataset; a copy of it elsewhere will do."""
    from segkit.models import hub
    from segkit.toy.learn import networks

    with hub.quiet():
        other = networks.write(tmp_path / "other", networks.oneformer(Palette.load("ade20k"), seed=1))
    out = tmp_path / "out"
    build(segkit, six_photos, out, *build_options, "--limit", 2)

    refused = segkit("build-dataset", six_photos, "-o", out, *build_options, "--segmenter", other)
    namesake = shutil.copytree(other, tmp_path / "networks" / "toy")
    same_name = segkit("build-dataset", six_photos, "-o", out, *build_options, "--segmenter", namesake)
    renamed = shutil.copytree(hub.shipped("segmenter"), tmp_path / "renamed")
    build(segkit, six_photos, out, *build_options, "--limit", 3, "--segmenter", renamed)

    assert (refused.code, same_name.code) == (2, 2)
    assert "was segmented by toy, not by other. Pass --segmenter toy or another output folder." in refused.err
    assert "Pass the same segmenter" in same_name.err
    assert len(Dataset.open(out)) == 3


def test_a_dataset_whose_palette_was_edited_accepts_no_new_photos(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """Colours swapped in dataset.toml, with a matching hash, are detected before a map is painted."""
    out = tmp_path / "out"
    options = ("--segmenter", models.oneformer, "--no-caption")
    build(segkit, six_photos, out, *options, "--limit", 2)
    swap_colors(out, [])
    before = hashes(out)

    refused = segkit("build-dataset", six_photos, "-o", out, *options)

    assert refused.code == 2
    assert "differs from ade20k" in refused.err
    assert hashes(out) == before


def test_a_dataset_inside_the_photo_folder_is_not_searched(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """With -o photos/out, the dataset's pictures are not taken for photos by the next run."""
    photos = tmp_path / "photos"
    shutil.copytree(six_photos, photos)
    options = ("--segmenter", models.oneformer, "--no-caption")
    build(segkit, photos, photos / "out", *options)

    again = build(segkit, photos, photos / "out", *options)

    assert (again["found"], again["kept"]) == (6, 6)


PHOTO = fit(Decoded(world.scene(0, (128, 96)).photo), 64)


def candidate(number: int) -> Candidate:
    """Return a new photo."""
    return Candidate(f"{number}.jpg", f"{number:064x}", PHOTO, number, f"{number}")


def rejection(number: int) -> Rejection:
    """Return the rejection of a photo."""
    return Rejection(f"{number}.png", "", "not-an-image", "text")


def test_units_hold_new_photos_and_new_rejections() -> None:
    """Kept photos and rejections known from earlier runs are counted, but do not fill a unit; the rest comes last."""
    history = History(None)
    old = rejection(0)
    history.rejections[old.source, old.sha256] = old
    number = units.UNIT
    arrivals: list[Arrival] = [old, Kept("k.jpg")]
    arrivals += [candidate(place) for place in range(1, number)] + [rejection(1), Kept("l.jpg"), candidate(number)]
    outcome, calls = Outcome(len(arrivals)), []

    grouped = list(
        units.units(arrivals, history, outcome, lambda stage, done, total, note="": calls.append((stage, done, total)))
    )

    assert [(len(unit.candidates), len(unit.rejections)) for unit in grouped] == [(number - 1, 1), (1, 0)]
    assert (outcome.kept, outcome.rejected, outcome.made) == (2, {"not-an-image": 2}, 0)
    assert calls[-1] == ("photos", 4, len(arrivals))


def test_an_outcome_adds_up() -> None:
    """Every decision is counted once, and skipped photos are not part of the progress."""
    outcome = Outcome(5, skipped=Counter(limit=1))
    calls = []
    for arrival in (candidate(0), Kept("k.jpg"), rejection(0), rejection(1)):
        outcome.count(arrival)
        outcome.report(lambda stage, done, total, note="": calls.append((done, total)))

    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert outcome.done + outcome.skipped.total() == outcome.found
    assert outcome.to_json() == {
        "found": 5,
        "made": 1,
        "kept": 1,
        "rejected": {"not-an-image": 2},
        "skipped": {"limit": 1},
        "seconds": 0.0,
        "renamed": 0,
        "gone": 0,
        "pruned": 0,
        "changed": False,
        "examined": False,
        "notes": [],
        "vanished": [],
    }


def test_limits_follow_the_settings(tmp_path: Path) -> None:
    """A new output has no dataset to compare with; photos are fitted to the size of the settings."""
    settings = BuildSettings(size=256, min_size=64, max_megapixels=9.0)

    assert target.open_existing(tmp_path / "new", settings) is None
    assert supply.limits(settings) == Limits(64, 9.0, 256)
