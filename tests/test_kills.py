"""kill -9 and full disks during a build: the next run produces the same dataset as an uninterrupted one."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segkit import storage
from segkit.build import captions
from segkit.build.settings import DraftingSettings
from segkit.build.tools import Drafter
from segkit.dataset import Dataset, records, remove
from segkit.errors import SegkitError
from tests import forks
from tests.dataset.test_dataset import build, contents, render, written

PHOTOS = 14
KILLS = 12


def building(photos: Path, out: Path, last: int = 0) -> int:
    """Build a dataset and return the exit code of the command line. The last-th write, if any, is fatal."""
    count, write = iter(range(1, 1000)), storage.write

    def written(path: Path, data: bytes) -> None:
        if next(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, data)

    storage.write = written
    try:
        build(photos, out)
    except SegkitError as error:
        print(error)  # noqa: T201
        return error.exit_code
    return 0


def work(out: Path, last: int) -> int:
    """Edit prompts, leave triples out, put them back and fold; print each step. The last-th flush is fatal."""
    dataset, rng = Dataset.open(out), random.Random(last)
    keys = [triple.key for triple in dataset.triples()]
    forks.die_at_flush(last)
    records.SMALL = 0 if last % 2 else records.SMALL  # as for a large dataset, where edits stay in parts
    for step in range(12):
        key, action = rng.choice(keys), rng.choice(["edit", "edit", "remove", "restore", "fold"])
        print(json.dumps([action, key, f"text {step}"]), flush=True)  # noqa: T201
        if action == "edit":
            dataset.set_prompts({key: f"text {step}"})
        elif action == "fold":
            with dataset.writing():
                dataset.fold()
        else:
            (remove.remove if action == "remove" else remove.restore)(dataset, [key], None)
    print("[]", flush=True)  # noqa: T201
    return 0


def expected(steps: list[list[str]]) -> dict[str, tuple[str, str]]:
    """Return the text and the review of each triple after some steps of `work`; "" and "open" for others."""
    after: dict[str, tuple[str, str]] = {}
    for action, key, text in filter(None, steps):
        before = after.get(key, ("", "open"))
        after[key] = {
            "edit": (text, before[1]), "fold": before,
            "remove": (before[0], "rejected"), "restore": (before[0], "open"),
        }[action]  # fmt: skip
    return after


def kill_after(seconds: float, photos: Path, out: Path) -> None:
    """Start a build and kill it, if it still runs, some seconds after its folder appears."""
    process = forks.start(building, photos, out)
    while not out.exists() and process.is_alive():
        time.sleep(0.001)
    time.sleep(seconds)
    process.kill()
    process.join()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small rendered photos. Read-only for tests."""
    return render(tmp_path_factory.mktemp("kills") / "photos", PHOTOS)


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an uninterrupted build."""
    out = tmp_path_factory.mktemp("whole") / "out"
    build(photos, out)
    return contents(out)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "segkit-test", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_build_can_be_completed(photos: Path, whole: dict[str, bytes], tmp_path: Path, seed: int) -> None:
    """After a kill at a random moment no final file is incomplete, and a second run gives the same bytes as always."""
    out = tmp_path / "out"
    kill_after(random.Random(seed).uniform(0, 0.25), photos, out)
    left = contents(out)

    build(photos, out)

    pictures = {
        name: data for name, data in left.items() if name.startswith(("images", "maps")) and ".part-" not in name
    }
    assert pictures.items() <= whole.items()
    assert contents(out) == whole


@pytest.mark.parametrize("last", [1, 2, 9, 28])
def test_a_build_killed_at_a_write_can_be_completed(
    photos: Path, whole: dict[str, bytes], tmp_path: Path, last: int
) -> None:
    """A build killed right before it writes a metadata file, a photo or a map is completed by a second run."""
    out = tmp_path / "out"

    killed = forks.run(building, photos, out, last)
    left = contents(out)
    build(photos, out)

    assert killed.returncode == -signal.SIGKILL
    assert left != whole
    assert contents(out) == whole


def test_a_full_disk_is_one_line_and_leaves_no_partial_file(
    photos: Path, whole: dict[str, bytes], small_disk: Path
) -> None:
    """On a full disk the build stops with one line; with more space the same command completes it."""
    out = small_disk / "out"

    full = forks.run(building, photos, out)
    left = contents(out)
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    again = forks.run(building, photos, out)

    assert (full.returncode, full.stdout.count("\n"), full.stderr) == (2, 1, "")
    assert "No space left on device. Free some space and run the same command again" in full.stdout
    assert {name: data for name, data in left.items() if name.startswith(("images", "maps"))}.items() <= whole.items()
    assert not [name for name in left if ".part-" in name]
    assert again.returncode == 0
    assert contents(out) == whole


@pytest.mark.parametrize("size", [1, 500, 5_000])
def test_a_failed_write_is_one_line_and_leaves_no_partial_file(
    photos: Path, whole: dict[str, bytes], tmp_path: Path, size: int
) -> None:
    """A file that cannot be written completely (dataset.toml, a map or a photo) does not exist afterwards."""
    out = tmp_path / "out"

    refused = forks.run(building, photos, out, file_size=size)
    left = contents(out) if out.exists() else {}
    again = forks.run(building, photos, out)

    assert (refused.returncode, refused.stdout.count("\n"), refused.stderr) == (2, 1, "")
    assert "Cannot write" in refused.stdout
    assert {name: data for name, data in left.items() if name.startswith(("images", "maps"))}.items() <= whole.items()
    assert again.returncode == 0
    assert contents(out) == whole


@pytest.mark.parametrize("last", [2, 5, 11, 18, 27, 33, 40, 10_000])
def test_no_acknowledged_work_of_a_person_is_lost(
    photos: Path, whole: dict[str, bytes], tmp_path: Path, last: int
) -> None:
    """Killed at any flush, a dataset holds every step that was done, and the last one whole or not at all."""
    out = tmp_path / "out"
    for name, data in whole.items():
        storage.write(out / name, data)

    shown = forks.run(work, out, last)
    steps = [json.loads(line) for line in shown.stdout.splitlines()]
    dataset = Dataset.open(out)
    with dataset.writing():
        dataset.fold()
    after = {triple.key: (triple.text, triple.review) for triple in dataset.triples()}

    untouched = dict.fromkeys(after, ("", "open"))
    assert shown.returncode == (0 if last == 10_000 else -signal.SIGKILL), shown.stderr
    assert len(after) == len(whole_triples(whole))
    assert after in (untouched | expected(steps), untouched | expected(steps[:-1]))
    assert {triple.key for triple in dataset} == {key for key, (_, review) in after.items() if review == "open"}
    assert not [name for name in contents(out) if ".part-" in name or "/parts/" in name]


def whole_triples(whole: dict[str, bytes]) -> list[bytes]:
    """Return the lines of a manifest."""
    return whole["metadata.jsonl"].splitlines()


@pytest.mark.parametrize("kill", range(6))
def test_killed_redrafting_can_be_completed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: int
) -> None:
    """After an interrupt in any unit and a second run, all drafts are new and the hand-written prompt is unchanged."""
    monkeypatch.setattr(captions, "UNIT", 3)
    outs = [tmp_path / "killed", tmp_path / "whole"]
    calls = iter(range(100))

    def caption(images: object) -> list[str]:
        if next(calls) == kill:
            raise KeyboardInterrupt
        return ["a new draft"]

    drafting = Drafter(caption, lambda text: len(text.split()) + 2, "m", "1")
    for out in outs:
        fresh = build(photos, out)
        with fresh.writing():
            fresh.commit([written(list(fresh.triples())[4], "my own words")])
            fresh.fold()
    settings = DraftingSettings()

    with pytest.raises(KeyboardInterrupt):
        captions.draft(Dataset.open(outs[0]), settings, lambda _: drafting, redo=True)
    texts = [triple.text for triple in Dataset.open(outs[0]).triples()]
    for out in outs:
        captions.draft(Dataset.open(out), settings, lambda _: drafting, redo=True)

    assert sum(text == "a new draft" for text in texts) == kill // 3 * 3
    assert contents(outs[0]) == contents(outs[1])
    assert [triple.text for triple in Dataset.open(outs[0]).triples()].count("a new draft") == PHOTOS - 1
    assert list(Dataset.open(outs[0]).triples())[4].text == "my own words"
