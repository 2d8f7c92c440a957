"""A build on a real Ray cluster gives the bytes of a build in one process, whoever dies meanwhile."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segkit.build import pipeline, units
from segkit.build.engines import cluster
from segkit.build.outcome import Outcome
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.dataset import Dataset
from segkit.errors import EngineError, ModelError
from segkit.models.segment import Segmentation
from segkit.palette import Palette
from segkit.photos import Limits, open_photo
from tests.dataset.test_dataset import Unbatched, brightness, contents, render

if find_spec("ray") is None:
    pytest.skip("Ray is not installed: pip install 'segkit[ray]'", allow_module_level=True)

PHOTOS = 11


NODE = {"num_cpus": 2, "object_store_memory": 80_000_000, "include_log_monitor": False}
ATTEMPTS = 8
"""Times that a node is started: Ray waits only 15 seconds for parts of it, too few on a very busy machine."""


def started(start: Callable[[], Any]) -> Any:
    """Return a node or a cluster."""
    for attempt in range(ATTEMPTS):
        try:
            return start()
        except Exception:  # Ray raises no other type
            if attempt == ATTEMPTS - 1:
                raise
    return None


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A small Ray cluster on this machine that this process is connected to."""
    import ray
    from ray.cluster_utils import Cluster

    head = {**NODE, "no_monitor": True, "include_dashboard": False}
    with cluster.unchanged():
        nodes = started(lambda: Cluster(initialize_head=True, head_node_args=head))
        ray.init(address=nodes.address, log_to_driver=False, configure_logging=False)
    yield nodes
    with cluster.unchanged():
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small rendered photos, among them a mirrored copy, a byte-identical one and a damaged one."""
    folder = render(tmp_path_factory.mktemp("ray") / "photos", PHOTOS)
    with Image.open(folder / "004.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "mirrored.png")
    (folder / "copy.png").write_bytes((folder / "002.png").read_bytes())
    (folder / "damaged.png").write_bytes((folder / "003.png").read_bytes()[:900])
    return folder


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a build in one process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    build(photos, out, engine="inline")
    return contents(out)


def networks(settings: BuildSettings) -> Networks:
    """Return networks that are plain functions, so that workers start without torch."""
    return Unbatched(Palette.load("ade20k"), brightness, None, "brightness", "1", batch=2)


def build(
    photos: Path | str, out: Path, load: Callable[[BuildSettings], Networks] = networks, **options: Any
) -> Outcome:
    """Build a dataset in units of three photos, by default with two workers."""
    options = {"engine": "ray", "workers": "2" if options.get("engine") != "inline" else "auto", **options}
    settings = BuildSettings(size=96, min_size=80, caption=False, split="val=0.2", **options)
    before, units.UNIT = units.UNIT, 3
    try:
        return pipeline.build_dataset(photos, out, settings, load=load)
    finally:
        units.UNIT = before


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


def killing(rng: random.Random, number: int, stop: threading.Event, killed: list[int]) -> None:
    """Kill random workers at random moments."""
    while len(killed) < number and not stop.wait(rng.uniform(0, 1.5)):
        if running := [pid for pid in processes() if pid not in killed]:
            killed.append(rng.choice(running))
            os.kill(killed[-1], signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 2), *(pytest.param(seed, 5, marks=pytest.mark.slow) for seed in (1, 2, 3, 4))]
)
def test_killed_workers_change_nothing(
    nodes: Any, photos: Path, whole: dict[str, bytes], tmp_path: Path, seed: int, kills: int
) -> None:
    """Workers killed at random moments are replaced, and their work is done again."""
    stop, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=killing, args=(random.Random(seed), kills, stop, killed))
    killer.start()
    try:
        outcome = build(photos, tmp_path / "out")
    finally:
        stop.set()
        killer.join()

    assert killed
    assert contents(tmp_path / "out") == whole
    assert outcome.made == PHOTOS


def poisoned(source: bytes, settings: BuildSettings) -> Networks:
    """Return networks that kill their process when they see one photo."""

    def segment(pictures: list[Image.Image]) -> list[Segmentation]:
        if any(picture.tobytes() == source for picture in pictures):
            os.kill(os.getpid(), signal.SIGKILL)
        return brightness(pictures)

    return Unbatched(Palette.load("ade20k"), segment, None, "brightness", "1", batch=2)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_photo_that_kills_workers_is_found_and_rejected(nodes: Any, photos: Path, tmp_path: Path) -> None:
    """The dataset is that of a folder without the photo, which is listed with its reason and not tried again."""
    folder, rest = tmp_path / "photos", tmp_path / "rest"
    for target in (folder, rest):
        target.mkdir()
        for number in (0, 3):
            (target / f"{number}.png").write_bytes((photos / f"{number:03}.png").read_bytes())
    (folder / "1.png").write_bytes((photos / "006.png").read_bytes())
    pixels = open_photo((folder / "1.png").read_bytes(), Limits(min_size=80, size=96)).image.tobytes()
    poison = partial(poisoned, pixels)

    outcome = build(folder, tmp_path / "out", poison, workers="1")
    again = build(folder, tmp_path / "out", poison, workers="1")
    build(rest, tmp_path / "other", engine="inline")

    made, expected = contents(tmp_path / "out"), contents(tmp_path / "other")
    pictures = {name for name in expected if name.startswith(("images", "maps", "metadata"))}
    [rejection] = Dataset.open(tmp_path / "out").rejections()
    assert (outcome.made, dict(outcome.rejected)) == (2, {"crashed-worker": 1})
    assert (rejection.source, rejection.reason) == ("1.png", "crashed-worker")
    assert {name: made[name] for name in pictures} == {name: expected[name] for name in pictures}
    assert (again.made, dict(again.rejected)) == (0, {"crashed-worker": 1})
    assert not any("Died" in note for note in again.notes)


def test_photos_that_workers_cannot_see_are_sent(
    nodes: Any, photos: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """A store in this process's memory is invisible to others: bytes go with the requests, and the outcome says so."""
    import fsspec

    store = fsspec.filesystem("memory")
    for path in photos.iterdir():
        store.pipe(f"/{tmp_path.name}/{path.name}", path.read_bytes())

    outcome = build(f"memory://{tmp_path.name}", tmp_path / "out")

    store.rm(f"/{tmp_path.name}", recursive=True)
    assert contents(tmp_path / "out").keys() == whole.keys()
    assert {name: data for name, data in contents(tmp_path / "out").items() if name.startswith(("images", "maps"))} == {
        name: data for name, data in whole.items() if name.startswith(("images", "maps"))
    }
    assert any("Photos were read here and sent to them: " in note for note in outcome.notes)


@pytest.mark.slow
def test_a_lost_node_changes_nothing(nodes: Any, photos: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """Of two nodes one is killed in the middle of a build: its work is done again on the other."""
    second = started(lambda: nodes.add_node(**NODE))
    removed = threading.Event()

    def lose(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "photos" and done and not removed.is_set():
            removed.set()
            nodes.remove_node(second, allow_graceful=False)

    settings = BuildSettings(
        size=96, min_size=80, caption=False, split="val=0.2", engine="ray", workers="4", gpus_per_worker="0"
    )
    before, units.UNIT = units.UNIT, 3
    try:
        outcome = pipeline.build_dataset(photos, tmp_path / "out", settings, lose, networks)
    finally:
        units.UNIT = before

    assert removed.is_set()
    assert contents(tmp_path / "out") == whole
    assert outcome.made == PHOTOS


SCRIPT = """
import sys
from pathlib import Path
from segkit import interrupts
from tests.build.engines import test_ray

with interrupts.acknowledged():
    test_ray.build(Path(sys.argv[1]), Path(sys.argv[2]), test_ray.slow)
"""


def slow(settings: BuildSettings) -> Networks:
    """Return networks that need a moment for each photo, so that a build can be stopped in the middle."""

    def segment(pictures: list[Image.Image]) -> list[Segmentation]:
        time.sleep(1)
        return brightness(pictures)

    return Unbatched(Palette.load("ade20k"), segment, None, "brightness", "1", batch=2)  # type: ignore[arg-type]


def parts_of(folder: Path) -> list[str]:
    """Return the command lines of the processes of a Ray cluster that keeps its files in a folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().decode(errors="replace"))
    return [line for line in lines if f"{folder}/segkit-ray-" in line]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_build_ends_its_cluster_and_is_completed_by_another_engine(
    photos: Path, whole: dict[str, bytes], tmp_path: Path, number: signal.Signals
) -> None:
    """Killed or interrupted after the first unit: no process is left, and a build without workers gives all bytes."""
    out = tmp_path / "out"
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(photos), str(out)],
            env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not [*out.glob("images/*/*.jpg")] and process.poll() is None:
            time.sleep(0.02)
        was_running = bool(parts_of(Path(folder)))
        process.send_signal(number)
        process.wait()
        ends = time.monotonic() + 120
        while parts_of(Path(folder)) and time.monotonic() < ends:
            time.sleep(0.1)
        left = parts_of(Path(folder))

    made = len([*out.glob("images/*/*.jpg")])
    build(photos, out, engine="inline")

    assert was_running
    assert left == []
    assert 0 < made < PHOTOS
    assert contents(out) == whole


def broken(settings: BuildSettings) -> Networks:
    """Fail as networks do whose weights are missing."""
    raise ModelError("no weights here")


def test_what_a_worker_raises_is_raised_here(nodes: Any, photos: Path, tmp_path: Path) -> None:
    """An error of segkit keeps its type and its line."""
    with pytest.raises(ModelError, match="no weights here"):
        build(photos, tmp_path / "out", broken, workers="1")


def test_without_ray_one_line_says_how_to_install_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is needed to understand it."""
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(EngineError, match=r"pip install 'segkit\[ray\]', or use engine=inline"):
        build(photos, tmp_path / "out")
