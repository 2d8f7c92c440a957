"""segkit.build.vanished: photos that are deleted, or whose disk is unmounted, while a dataset is built."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit import photos
from segkit.build import pipeline, slice_listing, supply, vanished
from segkit.build.engines import Job, Results, inline, worker
from segkit.build.outcome import Outcome
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.build.units import UNIT, Unit
from segkit.dataset import Dataset, Rejection
from segkit.errors import LocationError, PhotoError
from segkit.models.segment import Segmentation
from segkit.photos import GONE, Limits
from tests.build.engines import building
from tests.dataset.test_dataset import Unbatched, brightness, contents, render

PHOTOS = 34
"""More than the build reads ahead, so that some are unread when the first unit is segmented."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos. Read-only for tests."""
    return render(tmp_path_factory.mktemp("rendered"), PHOTOS)


@pytest.fixture
def folder(rendered: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may take away."""
    return Path(shutil.copytree(rendered, tmp_path / "photos"))


def build(folder: Path, out: Path, meanwhile: Callable[[], object] = lambda: None, **options: Any) -> Outcome:
    """Build a dataset, and do something once the first photos are being segmented."""
    todo = [meanwhile]

    def segment(images: Sequence[Image.Image]) -> list[Segmentation]:
        if todo:
            todo.pop()()
        return brightness(images)

    def networks(settings: BuildSettings) -> Networks:
        return Unbatched(building.networks(settings).palette, segment, None, "brightness", "1", batch=2)

    return building.build(folder, out, networks, engine="inline", keep_duplicates=True, **options)


def unmount(folder: Path, away: Path) -> Callable[[], object]:
    """Return what leaves an empty folder behind, as unmounting a disk does."""

    def leave() -> None:
        folder.rename(away)
        folder.mkdir()

    return leave


@pytest.mark.parametrize("leaves_folder", [False, True])
def test_a_folder_that_vanishes_ends_the_build_and_a_rerun_continues(
    rendered: Path, folder: Path, tmp_path: Path, leaves_folder: bool
) -> None:
    """What was finished stays, nothing is rejected, and the next build gives the bytes of one without interruption."""
    away, out = tmp_path / "away", tmp_path / "out"
    vanish = unmount(folder, away) if leaves_folder else lambda: folder.rename(away)

    with pytest.raises(LocationError, match="is gone, and so are the photos beside it") as raised:
        build(folder, out, vanish)

    stopped = Dataset.open(out)
    assert raised.value.exit_code == 2
    assert 0 < len(stopped) < PHOTOS
    assert list(stopped.rejections()) == []

    shutil.rmtree(folder, ignore_errors=True)
    away.rename(folder)
    build(folder, out)
    build(rendered, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_a_deleted_photo_is_named_and_nothing_is_recorded(folder: Path, tmp_path: Path) -> None:
    """It counts as skipped, for the reason "gone", and the numbers add up."""
    last = sorted(folder.iterdir())[-1]

    outcome = build(folder, tmp_path / "out", last.unlink)

    assert (outcome.made, outcome.rejected, outcome.skipped) == (PHOTOS - 1, {}, {GONE: 1})
    assert outcome.made + outcome.skipped.total() == outcome.found
    assert f"Gone before they were read: 1 photo ({last.name})." in outcome.notes
    assert list(Dataset.open(tmp_path / "out").rejections()) == []
    assert json.loads(json.dumps(outcome.to_json()))["vanished"] == [last.name]


def test_a_slice_whose_photos_vanished_is_not_finished(folder: Path, tmp_path: Path) -> None:
    """Its list is not written, so that it is not merged without the photo."""
    last = sorted(folder.iterdir())[-1]

    build(folder, tmp_path / "out", last.unlink, shard="1/1")
    listed = (tmp_path / "out" / slice_listing.LISTING).exists()
    build(folder, tmp_path / "out", shard="1/1")

    assert not listed
    assert (tmp_path / "out" / slice_listing.LISTING).exists()


def test_a_worker_that_misses_a_photo_says_that_it_is_gone(rendered: Path, tmp_path: Path) -> None:
    """It is not called unreadable, and a photo that is there is not gone."""
    paths = sorted(rendered.iterdir())
    work = worker.Worker(BuildSettings(), building.networks, 1, 1)
    requests = [worker.Request(paths[0], "a"), worker.Request(tmp_path / "none.png", "b")]

    known, missing = work.read(requests, Limits(min_size=64), np.array([], np.uint64))

    assert not vanished.is_gone(known.outcome)
    assert vanished.is_gone(missing.outcome)


class Apart(inline.Inline):
    """An engine whose units are finished by a worker that opens the photos again, as on a cluster."""

    def __init__(self, settings: BuildSettings, before: Callable[[int], object]) -> None:
        super().__init__(settings, building.networks)
        self._worker, self._before = worker.Worker(settings, building.networks, 1, 1), before

    def finish(self, units: Iterable[Unit], job: Job) -> Iterator[tuple[Unit, Iterable[Results]]]:
        """Have the worker finish each unit, after something happens to the photos."""
        task = worker.Task(
            job.palette, job.settings, job.style, supply.limits(job.settings), self.networks().identities
        )
        for number, unit in enumerate(units):
            self._before(number)
            photos = [worker.Request(job.paths[one.position], one.source, candidate=one) for one in unit.candidates]
            yield unit, (self._worker.finish(photos, task),)


def build_apart(folder: Path, out: Path, before: Callable[[int], object]) -> Outcome:
    """Build a dataset with such an engine, in units of 32 photos."""
    settings = BuildSettings(size=96, min_size=80, caption=False, keep_duplicates=True)
    return pipeline.update(supply.find(folder, out, settings), out, settings, Apart(settings, before))


def test_a_photo_that_a_worker_misses_is_not_recorded(folder: Path, tmp_path: Path) -> None:
    """It is gone when a worker opens it again, which counts as skipped."""
    first = sorted(folder.iterdir())[0]

    outcome = build_apart(folder, tmp_path / "out", lambda _: first.unlink(missing_ok=True))

    assert (outcome.made, outcome.skipped, outcome.vanished) == (PHOTOS - 1, {GONE: 1}, [first.name])
    assert list(Dataset.open(tmp_path / "out").rejections()) == []


def test_a_folder_that_workers_miss_ends_the_build(folder: Path, tmp_path: Path) -> None:
    """The unit before it is kept, and no photo of the next one is recorded as rejected."""
    with pytest.raises(LocationError):
        build_apart(folder, tmp_path / "out", lambda number: number and folder.rename(tmp_path / "away"))

    dataset = Dataset.open(tmp_path / "out")
    assert (len(dataset), list(dataset.rejections())) == (UNIT, [])


def test_links_that_lead_nowhere_are_unreadable(tmp_path: Path) -> None:
    """Such a link may have been broken for years, so it does not end a build."""
    (tmp_path / "link.jpg").symlink_to(tmp_path / "none.jpg")

    for name, reason in (("link.jpg", "unreadable"), ("none.jpg", GONE)):
        with pytest.raises(PhotoError) as raised:
            photos.read(tmp_path / name)
        assert raised.value.reason == reason


def test_one_photo_beside_a_missing_one_is_enough(tmp_path: Path) -> None:
    """A photo is missing alone if any of those listed around it is there, or if there is no other."""
    paths = [tmp_path / f"{number}.jpg" for number in range(20)]
    gone = Rejection("9.jpg", "", GONE, "")
    (tmp_path / "13.jpg").touch()

    vanished.require_rest(gone, 9, paths, tmp_path)
    vanished.require_rest(gone, 0, paths[:1], tmp_path)
    with pytest.raises(LocationError):
        vanished.require_rest(gone, 8, paths, tmp_path)
    with pytest.raises(LocationError):
        vanished.require_rest(gone, 0, paths[:1], tmp_path / "none")
