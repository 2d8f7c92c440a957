"""Of near-duplicates the best is kept, whatever the names, the threads and the moment of a kill."""

import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from segkit import photos, storage
from segkit.build import held, intake, survey
from segkit.build.arrival import Candidate, Loaded, Place
from segkit.build.history import History
from segkit.build.intake import Intake
from segkit.build.lookalikes import Pictures
from segkit.build.survey import NewPhotos
from segkit.dataset import Dataset, Rejection
from segkit.dataset.triple import key_of
from segkit.photos import Geometry, Limits, Photo, near_duplicates
from segkit.photos.near_duplicates import Grey
from segkit.toy import world
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, contents, render, written

LIMITS = Limits(min_size=64, size=96)


def kept(folder: Path) -> list[str]:
    """Return the sources of the photos that a first build of a folder would take."""
    paths, history = list(photos.find(folder)), History(None)
    surveyed = survey.survey(Intake(folder, paths, LIMITS), history, lambda done: None)
    arrivals = intake.arrivals(Intake(folder, paths, LIMITS), history, surveyed)
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
    """Without a folder for their pixels, photos are decoded twice, with the same result."""
    for seed in range(6):
        scene(seed % 4, 160 + 20 * seed).save(tmp_path / f"{seed}.png")
    at_once = kept(tmp_path)
    monkeypatch.setattr(held, "MEMORY", 0)

    assert kept(tmp_path) == at_once == ["2.png", "3.png", "4.png", "5.png"]


@cache
def drawings() -> list[tuple[int, Grey]]:
    """Return hash and grey copy of photos of which some resemble several others that do not resemble each other."""
    wide = world.scene(3, (640, 480)).photo
    windows = [wide.crop((left, 0, left + 560, 480)) for left in (0, 26, 52, 78)]
    pictures = [*windows, ImageOps.mirror(windows[1]), world.scene(4, (640, 480)).photo]
    return [(near_duplicates.perceptual_hash(picture), near_duplicates.grey_copy(picture)) for picture in pictures]


class Shelf(Pictures):
    """Grey copies by key and position instead of files."""

    def __init__(self, drawn: list[int], stored: set[int]) -> None:
        super().__init__(None)
        self.drawn, self.keys = drawn, {key_of(digest(position)): position for position in stored}

    def stored(self, key: str) -> Grey | None:
        """Return that of a photo in the dataset."""
        return drawings()[self.drawn[self.keys[key]]][1] if key in self.keys else None

    def to_be_stored(self, path: Place) -> Grey | None:
        """Return that of a source."""
        return drawings()[self.drawn[int(path.name)]][1]

    new = to_be_stored


def digest(position: int) -> str:
    """Return the SHA-256 of the photo at a position."""
    return storage.sha256(str(position).encode())


def accepted(drawn: list[tuple[int, int]], stored: set[int], start: int = 0) -> set[int]:
    """Return which of the photos from a position on a survey accepts; each has a size and a drawing."""
    history, new = History(None), NewPhotos()
    history.pictures = Shelf([drawing for _, drawing in drawn], stored)
    history.expect(Path("/photos"), [Path(f"/photos/{position}") for position in range(len(drawn))], LIMITS)
    for position in sorted(stored):
        history.lookalikes.add(drawings()[drawn[position][1]][0], history.contents.row(digest(position)))
    for position in range(start, len(drawn)):
        size, drawing = drawn[position]
        phash, grey = drawings()[drawing]
        photo = Photo(Image.new("RGB", (8, 8)), Geometry(size + 1, 1, 1, (), 8, 8, 0, 0))
        loaded = Loaded(str(position), digest(position), photo, phash, grey, position)
        survey.remember(new, history, loaded, history.meet(loaded))
    losers = survey.outdone(new, history)
    return {new.positions[index] for index in range(len(new.positions)) if index not in losers}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=8), st.integers(0, 8))
@example([(0, 0), (1, 1), (0, 2), (1, 3)], 2)
@example([(1, 1), (0, 4), (0, 0)], 1)
def test_an_interrupted_survey_accepts_the_same_photos(drawn: list[tuple[int, int]], stop: int) -> None:
    """With the accepted photos before any position already stored, the rest is decided in the same way."""
    whole = accepted(drawn, set())

    resumed = accepted(drawn, {position for position in whole if position < stop}, stop)

    assert resumed == {position for position in whole if position >= stop}


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Ten photos, with better and worse copies of some of them on both sides of the units' boundaries."""
    folder = render(tmp_path / "photos", 10)
    for seed, name, factor in ((0, "zz", 2), (1, "000a", 2), (5, "zy", 0.9), (7, "0", 0.9), (7, "z", 3)):
        with Image.open(folder / f"{seed:03}.png") as image:
            image.resize((round(image.width * factor), round(image.height * factor))).save(folder / f"{name}.png")
    for seed, name in ((2, "00c"), (8, "zc")):
        with Image.open(folder / f"{seed:03}.png") as image:
            ImageOps.mirror(image.crop((image.width // 20, 0, image.width, image.height))).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize(
    ("last", "keep"), [*((last, False) for last in (2, 6, 9, 12, 15, 20, 24)), (9, True), (21, True)]
)
def test_a_killed_build_keeps_the_same_copies(
    copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int, keep: bool
) -> None:
    """Stopped before any write and started again, a build gives the bytes of an uninterrupted one."""
    whole = contents(build(copies, tmp_path / "whole", keep_duplicates=keep).folder)
    count, write = iter(range(1, 1000)), storage.write

    def stopping(path: Path, data: bytes) -> None:
        if next(count) >= last:
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(storage, "write", stopping)
    with pytest.raises(KeyboardInterrupt):
        build(copies, tmp_path / "out", keep_duplicates=keep)
    monkeypatch.setattr(storage, "write", write)
    resumed = build(copies, tmp_path / "out", keep_duplicates=keep)

    assert contents(resumed.folder) == whole
    best = {
        "000a.png", "002.png", "003.png", "004.png", "005.png", "006.png", "008.png", "009.png", "z.png", "zz.png"
    }  # fmt: skip
    assert len({triple.group for triple in resumed}) == len(best)
    assert keep or {triple.source for triple in resumed} == best


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

    surveyed = survey.survey(Intake(tmp_path, paths, LIMITS), history, lambda done: None)
    arrivals = list(intake.arrivals(Intake(tmp_path, paths, LIMITS), history, surveyed))

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
