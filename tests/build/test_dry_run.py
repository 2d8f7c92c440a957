"""The plan of a build: real photos are checked and counted, and nothing is written."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from segkit.build import dry_run, pipeline
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.errors import ModelError
from segkit.models.segment import Segmentation
from segkit.palette import Palette
from segkit.toy import world
from tests.commands.test_build_dataset import build
from tests.conftest import Segkit
from tests.dataset.test_dataset import brightness, render

SETTINGS = BuildSettings(size=96, min_size=80, caption=False)


def test_dry_run_writes_nothing_and_counts_as_a_build_would(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """--dry-run reports counts, sizes, time and disk space, and writes nothing."""
    out = tmp_path / "out"

    plan = build(segkit, six_photos, out, *build_options, "--dry-run")

    assert not out.exists()
    assert (plan["found"], plan["made"]) == (6, 6)
    assert plan["sizes"] == {"640 x 480": 2, "480 x 640": 2, "560 x 400": 2}
    assert plan["seconds"] > 0
    assert plan["megabytes"] > 0


def test_dry_run_without_weights_says_why_there_is_no_time(segkit: Segkit, six_photos: Path, tmp_path: Path) -> None:
    """Photos are counted even if the networks are missing, and the reason is reported."""
    plan = build(segkit, six_photos, tmp_path / "out", "--dry-run")

    assert plan["made"] == 6
    assert plan["seconds"] is None
    assert "segkit demo" in plan["reason"]


def test_dry_run_refuses_what_a_build_refuses(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """A folder that is not a dataset, and settings that differ from the dataset's, are refused by --dry-run too."""
    out, foreign = tmp_path / "out", tmp_path / "foreign"
    build(segkit, six_photos, out, *build_options, "--limit", 2)
    foreign.mkdir()
    (foreign / "mine.txt").touch()

    other_size = segkit("build-dataset", six_photos, "-o", out, *build_options, "--size", 256, "--dry-run")
    other_folder = segkit("build-dataset", six_photos, "-o", foreign, *build_options, "--dry-run")
    mistyped = segkit(
        "build-dataset", six_photos, "-o", out, *build_options, "--limit", 0, "--segmenter", "to", "--dry-run"
    )

    assert (other_size.code, other_folder.code) == (2, 2)
    assert (mistyped.code, "segmenter to: no such folder" in mistyped.err) == (2, True)


def load(settings: BuildSettings) -> Networks:
    """Return a segmenter without a network."""
    return Networks(Palette.load("ade20k"), brightness, None, "brightness", "1")


def test_a_plan_agrees_with_the_build(tmp_path: Path) -> None:
    """Counts are exact, the disk space is close to that of the files, and photos that exist already are kept."""
    photos, out = render(tmp_path / "photos", 6), tmp_path / "out"
    (photos / "broken.jpg").write_bytes(b"broken")
    calls: list[tuple[str, int, int]] = []

    plan = dry_run.plan(
        photos, out, SETTINGS, lambda stage, done, total, note="": calls.append((stage, done, total)), load
    )
    outcome = pipeline.build_dataset(photos, out, SETTINGS, load=load)
    after = dry_run.plan(photos, out, SETTINGS, load=load)

    assert json.loads(json.dumps(plan.to_json()))["sizes"] == {"128 x 96": 2, "96 x 128": 2, "144 x 96": 2}
    assert (plan.found, plan.made, plan.rejected) == (7, 6, dict(outcome.rejected)) == (7, outcome.made, plan.rejected)
    stages = ("comparing photos", "photos")
    assert calls == [(stage, number, 7) for stage in stages for number in range(1, 8)]
    assert (after.made, after.kept, after.seconds is not None, after.megabytes) == (0, 6, True, 0)


def test_networks_run_on_three_photos_only(tmp_path: Path) -> None:
    """The trial is small, and networks are not loaded if there is no new photo."""
    segmented: list[Image.Image] = []
    photos = render(tmp_path / "photos", 5)

    def counting(settings: BuildSettings) -> Networks:
        def segment(images: Sequence[Image.Image]) -> list[Segmentation]:
            segmented.extend(images)
            return brightness(images)

        return Networks(Palette.load("ade20k"), segment)

    dry_run.plan(photos, tmp_path / "out", SETTINGS, load=counting)
    assert len(segmented) == dry_run.TRIAL

    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "broken.jpg").write_bytes(b"broken")
    plan = dry_run.plan(tmp_path / "bad", tmp_path / "out", SETTINGS, load=counting)
    assert (plan.made, plan.seconds is not None, len(segmented)) == (0, True, dry_run.TRIAL)


def test_missing_networks_are_explained(tmp_path: Path) -> None:
    """Photos are counted nevertheless, and time and disk space are unknown."""

    def missing(settings: BuildSettings) -> Networks:
        raise ModelError("no weights")

    plan = dry_run.plan(render(tmp_path / "photos", 2), tmp_path / "out", SETTINGS, load=missing)

    assert (plan.made, plan.seconds, plan.reason) == (2, None, "no weights")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("size", "encoded"), [(512, 24_000_000), (256, 600_000)])
def test_the_size_on_disk_is_close_to_that_of_the_build(
    segkit: Segkit, build_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, encoded: int
) -> None:
    """Within 20 % of all files of the dataset, the report included, also if only some photos are encoded."""
    monkeypatch.setattr(dry_run, "ENCODED", encoded)
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for seed in range(9):
        world.scene(70 + seed, ((640, 480), (480, 640), (560, 400))[seed % 3]).photo.save(photos / f"{seed}.png")
    options = (*build_options, "--no-caption", "--size", size)

    plan = build(segkit, photos, out, *options, "--dry-run")
    build(segkit, photos, out, *options)

    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert plan["megabytes"] * 1e6 == pytest.approx(written, rel=0.2)


def test_of_many_photos_a_sample_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts, sizes and disk space are extrapolated and add up; photos that have a triple are told by their names."""
    monkeypatch.setattr(dry_run, "SAMPLE", 4)
    photos, out = render(tmp_path / "photos", 12), tmp_path / "out"
    (photos / "000.png").write_bytes(b"broken")

    whole = dry_run.plan(photos, out, SETTINGS, load=load)
    pipeline.build_dataset(photos, out, BuildSettings(size=96, min_size=80, caption=False, limit=5), load=load)
    rest = dry_run.plan(photos, out, SETTINGS, load=load)

    assert (whole.found, whole.made, whole.rejected, whole.opened) == (12, 9, {"not-a-photo": 3}, 4)
    assert sum(whole.sizes.values()) == 9
    assert (rest.found, rest.kept, rest.opened) == (12, 4, 4)
    assert rest.made + rest.kept + sum(rest.rejected.values()) == 12
    assert 0 < rest.megabytes < whole.megabytes


def test_a_size_above_every_photo_is_named(tmp_path: Path) -> None:
    """With a size that most photos have; a build says the same."""
    photos = render(tmp_path / "photos", 8)
    settings = BuildSettings(size=1024, min_size=80, caption=False)

    plan = dry_run.plan(photos, tmp_path / "out", settings, load=load)
    outcome = pipeline.build_dataset(photos, tmp_path / "out", settings, load=load)

    note = (
        "size=1024 is above every photo: short sides are 96 to 120 pixels, and none is enlarged. size=120 would bring "
        "6 of 8 to one short side."
    )
    assert plan.notes == (note,)
    assert outcome.notes == [note]
    assert dry_run.plan(photos, tmp_path / "small", SETTINGS, load=load).notes == ()
