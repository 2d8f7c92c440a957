"""Workers, nodes and whole builds on a Ray cluster that die: slow tests, beside those of test_ray."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segkit.build import pipeline, units
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.dataset import Dataset
from segkit.models.segment import Segmentation
from segkit.palette import Palette
from segkit.photos import Limits, open_photo
from tests.build.engines.building import PHOTOS, build, networks
from tests.build.engines.conftest import NODE, started
from tests.dataset.test_dataset import Unbatched, brightness, contents

if find_spec("ray") is None:
    pytest.skip("Ray is not installed: pip install 'segkit[ray]'", allow_module_level=True)


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
from tests.build.engines import building, test_deaths

with interrupts.acknowledged():
    building.build(Path(sys.argv[1]), Path(sys.argv[2]), test_deaths.slow)
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
