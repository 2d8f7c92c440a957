"""Work on a real Ray cluster gives the bytes of work in one process, whoever dies meanwhile; see also test_deaths."""

import os
import random
import signal
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segkit.build import captions, dry_run
from segkit.build.engines import checking
from segkit.build.settings import BuildSettings, DraftingSettings, EngineSettings
from segkit.build.tools import Drafter, Networks
from segkit.dataset import Dataset, checks
from segkit.errors import DatasetError, EngineError, ModelError
from segkit.models.segment import Segmentation
from segkit.palette import Palette
from tests.build.engines.building import PHOTOS, build, networks
from tests.build.test_captions import load
from tests.dataset.test_dataset import Unbatched, brightness, contents

if find_spec("ray") is None:
    pytest.skip("Ray is not installed: pip install 'segkit[ray]'", allow_module_level=True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_bytes(
    nodes: Any, photos: Path, whole: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    """All files are those of an inline build; a second build, with one worker, changes nothing."""
    outcome = build(photos, tmp_path / "out", workers=str(workers))
    first = contents(tmp_path / "out")
    again = build(photos, tmp_path / "out", workers="1") if workers == 2 else None

    assert first == contents(tmp_path / "out") == whole
    assert outcome.made == PHOTOS
    assert again is None or (again.made, again.kept) == (0, PHOTOS)
    assert sum(outcome.rejected.values()) == 3
    assert any(note.startswith(f"Ray: {workers} worker") for note in outcome.notes)


def processes() -> list[int]:
    """Return the processes in which workers of this test run."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            grandparent = int(Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if title.startswith(b"ray::Worker") and os.getpid() in (parent, grandparent):
            pids.append(int(folder.name))
    return pids


def slow(settings: BuildSettings) -> Networks:
    """Return networks that take so long that a build is not over before the first worker is killed."""

    def segment(pictures: list[Image.Image]) -> list[Segmentation]:
        time.sleep(0.5)
        return brightness(pictures)

    return Unbatched(Palette.load("ade20k"), segment, None, "brightness", "1", batch=2)  # type: ignore[arg-type]


def killing(rng: random.Random, number: int, stop: threading.Event, killed: list[int]) -> None:
    """Kill random workers at random moments."""
    while len(killed) < number and not stop.wait(rng.uniform(0, 1.5)):
        if running := [pid for pid in processes() if pid not in killed]:
            killed.append(rng.choice(running))
            os.kill(killed[-1], signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 1), *(pytest.param(seed, 5, marks=pytest.mark.slow) for seed in (1, 2, 3, 4))]
)
def test_killed_workers_change_nothing(
    nodes: Any, photos: Path, whole: dict[str, bytes], tmp_path: Path, seed: int, kills: int
) -> None:
    """Of two workers, those killed at random moments are replaced, and their work is done again; a rerun is inline."""
    stop, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=killing, args=(random.Random(seed), kills, stop, killed))
    killer.start()
    try:
        outcome = build(photos, tmp_path / "out", slow)
    finally:
        stop.set()
        killer.join()

    assert killed
    assert contents(tmp_path / "out") == whole
    assert (outcome.made, sum(outcome.rejected.values())) == (PHOTOS, 3)
    assert any(note.startswith("Ray: 2 workers") for note in outcome.notes)


def test_photos_that_workers_cannot_see_are_sent(
    nodes: Any, photos: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """A store in this process's memory is invisible to others: bytes go with the requests, and the outcome says so."""
    import fsspec

    store = fsspec.filesystem("memory")
    for path in photos.iterdir():
        store.pipe(f"/{tmp_path.name}/{path.name}", path.read_bytes())

    outcome = build(f"memory://{tmp_path.name}", tmp_path / "out", workers="1")

    store.rm(f"/{tmp_path.name}", recursive=True)
    assert contents(tmp_path / "out").keys() == whole.keys()
    assert {name: data for name, data in contents(tmp_path / "out").items() if name.startswith(("images", "maps"))} == {
        name: data for name, data in whole.items() if name.startswith(("images", "maps"))
    }
    assert any("Photos were read here and sent to them: " in note for note in outcome.notes)


def test_a_dry_run_measures_a_worker_and_writes_nothing(nodes: Any, photos: Path, tmp_path: Path) -> None:
    """Counts are those of the build; what was measured is told apart from what was computed."""
    settings = BuildSettings(size=96, min_size=80, caption=False, engine="ray", workers="1")

    plan = dry_run.plan(photos, tmp_path / "out", settings, load=networks)

    assert (plan.made, plan.inodes, plan.rejected) == (11, 22, {"near-duplicate": 1, "identical": 1, "damaged": 1})
    assert plan.capacity
    assert (plan.capacity.workers, plan.capacity.machines, plan.capacity.gpus) == (1, 1, 0)
    assert plan.capacity.worker_bytes > 1e6
    assert plan.seconds
    assert not (tmp_path / "out").exists()


ONE: dict[str, Any] = {"engine": "ray", "workers": "1"}


def sizes(settings: DraftingSettings) -> Drafter:
    """Load the captioner of the tests, unless its name says that it is missing."""
    if settings.captioner == "nobody/missing":
        raise ModelError("no weights here")
    return load(settings)


def test_prompts_drafted_by_a_worker_are_those_of_one_process(nodes: Any, photos: Path, tmp_path: Path) -> None:
    """So are its findings in damaged files, and what it raises has its type and its line here."""
    for name in ("ray", "inline"):
        build(photos, tmp_path / name, engine="inline")
    ray, inline = (Dataset.open(tmp_path / name) for name in ("ray", "inline"))
    for dataset in (ray, inline):
        (dataset.folder / dataset[1].file_name).write_bytes(b"no photo")
        (dataset.folder / dataset[2].conditioning_image_file_name).unlink()

    with pytest.raises(ModelError, match="no weights here"):
        captions.draft(ray, DraftingSettings(captioner="nobody/missing", **ONE), sizes)
    for dataset, engine in ((ray, ONE), (inline, {})):
        with pytest.raises(DatasetError, match="1 of 11 photos cannot be opened"):
            captions.draft(dataset, DraftingSettings(prefix="photo of", **engine), sizes)
    with checking.examiner(ray, EngineSettings(**ONE)) as examine:
        report = checks.check(ray, scope=checks.Scope(examine=examine))

    assert contents(ray.folder) == contents(inline.folder)
    assert report == checks.check(ray)
    assert {"file-damaged", "file-missing", "file-changed"} <= report.counts().keys()


def test_without_ray_one_line_says_how_to_install_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is needed to understand it."""
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(EngineError, match=r"pip install 'segkit\[ray\]', or use engine=inline"):
        build(photos, tmp_path / "out")
