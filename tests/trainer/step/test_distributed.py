"""Several processes compute what one would, stop together and fail together."""

import subprocess
from pathlib import Path

import pytest
import tomli_w

from tests.trainer import cluster
from tests.trainer.runs import log, log_lines, require_near, same, toml, train, weights_of

RATE, STEPS = 1e-6, 4
WAYS = {"cache": True, "no-cache": False}

CELLS = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def runs(rooms: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two processes with one photo each, uninterrupted and stopped after three steps. Do not modify them."""
    folder = tmp_path_factory.mktemp("two")
    jobs = [
        toml(rooms, base, folder / f"{name}-{way}", batch_size=1, steps=steps, processes=2, cache=cache)
        for way, cache in WAYS.items()
        for name, steps in (("two", STEPS), ("stopped", STEPS - 1), ("stopped", STEPS))
    ]
    done = cluster.launch(folder / "jobs", jobs)
    assert done.returncode == 0, done.stderr
    return folder


@CELLS
def test_processes_average_their_gradients(runs: Path, rooms: Path, base: Path, way: str, tmp_path: Path) -> None:
    """Two processes with one photo each equal one process with two, up to rounding."""
    one = train(rooms, base, tmp_path / "one", batch_size=2, steps=STEPS, learning_rate=RATE, cache=WAYS[way])

    require_near(runs / f"two-{way}", one, RATE, STEPS)


@CELLS
def test_two_processes_resume_bit_for_bit(runs: Path, way: str) -> None:
    """Resumed after three of four steps, a run equals an uninterrupted one; so do runs with and without the cache."""
    whole = runs / f"two-{way}"

    assert log(whole) == log(runs / f"stopped-{way}") == log(runs / "two-cache")
    assert same(weights_of(whole), weights_of(runs / f"stopped-{way}"))
    assert same(weights_of(whole), weights_of(runs / "two-cache"))


@pytest.mark.parametrize("kind", ["SHARDED_STATE_DICT", pytest.param("FULL_STATE_DICT", marks=pytest.mark.slow)])
def test_sharded_weights_are_trained_and_resumed(
    runs: Path, rooms: Path, base: Path, tmp_path: Path, kind: str
) -> None:
    """With FSDP, where each process holds a shard, weights become those of a plain run, also after a stop."""
    environment = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "NO_WRAP"}
    environment |= {"FSDP_STATE_DICT_TYPE": kind}
    jobs = [
        toml(rooms, base, tmp_path / way, batch_size=1, steps=steps, checkpoint_every=2, processes=2, cache=cache)
        for way, cache in WAYS.items()
        for steps in (2, STEPS)
    ]
    done = cluster.launch(tmp_path / "jobs", jobs, cluster.FSDP, **environment)

    assert done.returncode == 0, done.stderr
    for way in WAYS:
        assert (tmp_path / way / "checkpoints" / "step-00000002" / "shards").is_dir()
        require_near(tmp_path / way, runs / f"two-{way}", RATE, STEPS)


def test_two_processes_stop_together(rooms: Path, base: Path, tmp_path: Path) -> None:
    """After SIGTERM to the launcher both processes stop at the same step, save it, and resume bit for bit."""
    whole, run = tmp_path / "whole", tmp_path / "stopped"
    jobs = [toml(rooms, base, folder, batch_size=1, steps=200, checkpoint_every=200) for folder in (whole, run)]

    stopped = cluster.launch(tmp_path / "stop", jobs[1:], cluster.STOP)
    stopped_at = len(log_lines(run))
    saved = {int(path.name[-8:]) for path in (run / "checkpoints").iterdir()}
    done = cluster.launch(tmp_path / "jobs", [job | {"steps": stopped_at + 1} for job in jobs])

    assert (stopped.returncode, done.returncode) == (1, 0)
    assert 4 <= stopped_at < 200
    assert stopped_at in saved
    assert log(run) == log(whole)
    assert same(weights_of(run), weights_of(whole))


def test_an_error_in_one_process_ends_all(rooms: Path, base: Path, tmp_path: Path) -> None:
    """If the dataset is missing, both processes end, and one line is printed."""
    (tmp_path / "run.toml").write_text(tomli_w.dumps(toml(rooms / "nothing", base, tmp_path / "run", batch_size=1)))
    done = subprocess.run(
        [*cluster.TORCHRUN, "-m", "trainer", str(tmp_path / "run.toml")],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("does not exist") == 1
