"""Of near-duplicates the best is kept, whatever the names, the threads and the moment of a kill."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from segkit import photos, storage
from segkit.build import intake, survey
from segkit.build.history import Candidate, History
from segkit.build.survey import NewPhotos
from segkit.dataset import Dataset, Rejection
from segkit.photos import Limits
from segkit.toy import world
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, contents, render, written

LIMITS = Limits(min_size=64, size=96)


def kept(folder: Path) -> list[str]:
    """Return the sources of the photos that a first build of a folder would take."""
    paths, history = list(photos.find(folder)), History(None)
    surveyed = survey.survey(folder, paths, LIMITS, history, lambda done: None)
    arrivals = intake.arrivals(folder, paths, LIMITS, history, surveyed)
    return [arrival.source for arrival in arrivals if isinstance(arrival, Candidate)]


def scene(seed: int = 0, width: int = 320) -> Image.Image:
    """Return a rendered photo at a width, with a sides' ratio of 4:3."""
    return world.scene(seed, (320, 240)).photo.resize((width, width * 3 // 4), Image.Resampling.LANCZOS)


@pytest.mark.parametrize(
    "names", [("a.png", "b.png", "c.png"), ("c.png", "b.png", "a.png"), ("b.png", "c.png", "a.png")]
)
def test_the_largest_copy_is_kept(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Whatever the order of the names, the copy with most pixels becomes the triple."""
    for name, width in zip(names, (160, 320, 240), strict=True):
        scene(width=width).save(tmp_path / name)

    assert kept(tmp_path) == [names[1]]


def test_of_equal_sizes_the_least_compressed_is_kept(tmp_path: Path) -> None:
    """Mirrored or not, the finer quantisation wins, even against a file with more bytes of metadata."""
    scene().save(tmp_path / "a.jpg", quality=40, exif=b"Exif\0\0" + bytes(60_000))
    ImageOps.mirror(scene()).save(tmp_path / "b.jpg", quality=90)
    scene().save(tmp_path / "c.jpg", quality=70)

    assert kept(tmp_path) == ["b.jpg"]


def test_of_equal_photos_the_first_is_kept(tmp_path: Path) -> None:
    """Nothing distinguishes two copies of one size and quality but their names."""
    scene().save(tmp_path / "a.jpg", quality=80)
    scene().save(tmp_path / "b.jpg", quality=80, exif=b"Exif\0\0" + bytes(99))

    assert kept(tmp_path) == ["a.jpg"]


def test_photos_whose_pixels_are_not_held_are_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large folders are decoded twice, with the same result."""
    for seed in range(6):
        scene(seed % 4, 160 + 20 * seed).save(tmp_path / f"{seed}.png")
    held = kept(tmp_path)
    monkeypatch.setattr(survey, "HELD", 0)

    assert kept(tmp_path) == held == ["2.png", "3.png", "4.png", "5.png"]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 0x3F, 0x3FFF, 0x3FFFFF])), min_size=1, max_size=12),
    st.integers(0, 12),
)
@example([(0, 0), (1, 0x3FFF)], 1)  # alike only if the second is mirrored
def test_an_interrupted_survey_accepts_the_same_photos(drawn: list[tuple[int, int]], stop: int) -> None:
    """With the accepted photos before any position already stored, the rest is decided in the same way."""
    new = NewPhotos()
    for position, (size, phash) in enumerate(drawn):
        new.positions.append(position)
        new.digests.append(f"{position:064x}")
        new.hashes.append((phash, phash >> 4))  # not symmetrical: comparing a with b may differ from b with a
        new.sizes.append((size, 1))
        new.coarseness.append(0.0)
    history = History(None)
    accepted = [index for index in range(len(drawn)) if index not in survey.outdone(new, History(None))]
    for index in accepted:
        if index < stop:
            history._remember(f"stored {index}", new.hashes[index][0], f"stored {index}")
    rest = NewPhotos(*(values[stop:] for values in vars(new).values()))

    outdone = survey.outdone(rest, history)

    assert [index for index in range(stop, len(drawn)) if index - stop not in outdone] == [
        index for index in accepted if index >= stop
    ]


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Ten photos, with better and worse copies of some of them on both sides of the units' boundaries."""
    folder = render(tmp_path / "photos", 10)
    for seed, name, factor in ((0, "zz", 2), (1, "000a", 2), (5, "zy", 0.9), (7, "0", 0.9), (7, "z", 3)):
        with Image.open(folder / f"{seed:03}.png") as image:
            image.resize((round(image.width * factor), round(image.height * factor))).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("last", [2, 6, 9, 12, 15, 20, 24])
def test_a_killed_build_keeps_the_same_copies(
    copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """Stopped before any write and started again, a build gives the bytes of an uninterrupted one."""
    whole = contents(build(copies, tmp_path / "whole").folder)
    count, write = iter(range(1, 1000)), storage.write

    def stopping(path: Path, data: bytes) -> None:
        if next(count) >= last:
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(storage, "write", stopping)
    with pytest.raises(KeyboardInterrupt):
        build(copies, tmp_path / "out")
    monkeypatch.setattr(storage, "write", write)
    resumed = build(copies, tmp_path / "out")

    assert contents(resumed.folder) == whole
    assert {triple.source for triple in resumed} == {
        "000a.png", "002.png", "003.png", "004.png", "005.png", "006.png", "008.png", "009.png", "z.png", "zz.png"
    }  # fmt: skip


def test_a_better_copy_that_comes_later_replaces_nothing(tmp_path: Path) -> None:
    """A triple with a person's prompt stays; the rejection says that it is smaller, and its advice works."""
    folder = tmp_path / "photos"
    folder.mkdir()
    scene(width=160).save(folder / "b.png")
    dataset = build(folder, tmp_path / "out")
    with dataset.writing():
        dataset.commit([written(dataset[0], "my own words")])
        dataset.fold()
    scene(width=640).save(folder / "a.png")

    later = build(folder, tmp_path / "out")
    rejections = list(later.rejections())
    both = build(folder, tmp_path / "out", keep_duplicates=True)

    assert [rejection.reason for rejection in rejections] == ["near-duplicate"]
    assert "is smaller (160x120, this one 640x480)" in rejections[0].message
    assert "keep_duplicates=True adds this one beside it" in rejections[0].message
    assert [(triple.source, triple.text) for triple in both] == [("a.png", ""), ("b.png", "my own words")]
    assert both[0].group == both[1].group == both[1].key


def test_a_worse_copy_that_comes_later_is_rejected_without_advice(tmp_path: Path) -> None:
    """The message names the stored photo only."""
    folder = tmp_path / "photos"
    folder.mkdir()
    scene(width=320).save(folder / "b.png")
    key = build(folder, tmp_path / "out")[0].key
    scene(width=160).save(folder / "a.png")

    messages = [rejection.message for rejection in build(folder, tmp_path / "out").rejections()]

    assert messages == [f"looks like the photo with key {key}"]


def test_a_copy_of_a_worse_photo_is_identical_to_it(tmp_path: Path) -> None:
    """Byte-for-byte copies are named as such, also where their original loses against a larger photo."""
    scene(width=160).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    scene(width=320).save(tmp_path / "c.png")
    paths, history = list(photos.find(tmp_path)), History(None)

    surveyed = survey.survey(tmp_path, paths, LIMITS, history, lambda done: None)
    arrivals = list(intake.arrivals(tmp_path, paths, LIMITS, history, surveyed))

    reasons = [arrival.reason if isinstance(arrival, Rejection) else "new" for arrival in arrivals]
    assert reasons == ["near-duplicate", "identical", "new"]


def test_the_original_wins_against_the_thumbnails_of_a_nas(
    segkit: Segkit, build_options: list[str], tmp_path: Path
) -> None:
    """@eaDir sorts first, but its small copy is skipped and the original becomes the triple."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    thumbnail = folder / "@eaDir" / "IMG_1.jpg" / "SYNOPHOTO_THUMB_B.jpg"
    thumbnail.parent.mkdir(parents=True)
    scene(1, 640).save(folder / "IMG_1.jpg", quality=95)
    scene(1, 560).save(thumbnail, quality=70)

    built = segkit("build-dataset", folder, "-o", out, *build_options, "--no-caption", "--json")

    outcome = json.loads(built.out)
    assert [triple.source for triple in Dataset.open(out)] == ["IMG_1.jpg"]
    assert (outcome["found"], outcome["made"], outcome["skipped"]) == (2, 1, {"thumbnail": 1})
    assert [rejection.source for rejection in Dataset.open(out).rejections()] == [
        "@eaDir/IMG_1.jpg/SYNOPHOTO_THUMB_B.jpg"
    ]
