"""Several processes compute what one would, stop together and fail together."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.trainer import cluster
from tests.trainer.runs import log, log_lines, require_near, same, toml, train, weights_of

RATE, STEPS = 1e-6, 4
WAYS = {"cache": True, "no-cache": False}
REWARD = {
    "reward": "toy", "reward_until": 700, "reward_share": 0.5, "reward_steps": 2, "reward_gradient_steps": 0,
}  # fmt: skip
"""One of two photos is rewarded at each step, in either process, with a gradient through all its predictions."""

FIDELITY = {"steps": 1, "evaluate_fidelity": 1, "judge": "toy-judge", "preview_guidance": 1.0}
"""Without guidance, which halves the work."""

CELLS = pytest.mark.parametrize("way", WAYS)


@dataclass(frozen=True)
class Runs:
    """Trainings of two processes with one photo each. Do not modify them.

    Attributes:
        folder: plain runs: two-WAY is uninterrupted, shards was resumed after three of four steps from shards of the
            dataset, two-reward has a REWARD, and two-fidelity has FIDELITY.
        whole: an uninterrupted run, one step longer than the one that was stopped by a signal.
        signalled: a run that SIGTERM to the launcher stopped, resumed for one step.
        exit_code: exit code of the launcher that the signal stopped.
        stopped_at: step at which the signal stopped the run.
        saved: steps of its checkpoints at that time.
        sharded: a run whose weights were sharded, resumed after two steps.
        failure: stderr of the launcher whose last training has no dataset.
    """

    folder: Path
    whole: Path
    signalled: Path
    exit_code: int
    stopped_at: int
    saved: frozenset[int]
    sharded: Path
    failure: str


def sharded(rooms: Path, base: Path, run: Path, kind: str, cache: bool) -> list[tuple[cluster.Job, dict[str, str]]]:
    """Return the jobs of a sharded run that is stopped after two steps and resumed."""
    environment = cluster.SHARDED | {"FSDP_STATE_DICT_TYPE": kind}
    changed = FIDELITY | {"batch_size": 1, "checkpoint_every": 2, "processes": 2, "cache": cache}
    return [
        (toml(rooms, base, run, **changed | {"steps": steps, "evaluate_fidelity": STEPS}), environment)
        for steps in (2, STEPS)
    ]


@pytest.fixture(scope="module")
def runs(
    rooms: Path, held_out: Path, shards: Path, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Runs:  # fmt: skip
    """All plain trainings of two processes; starting processes takes longer than their steps."""
    folder = tmp_path_factory.mktemp("two")
    whole, signalled = (
        toml(rooms, base, folder / name, batch_size=1, steps=200, checkpoint_every=200) for name in ("whole", "signal")
    )
    stopped = cluster.launch(folder / "stop", [(signalled, {})], cluster.STOP)
    stopped_at = len(log_lines(folder / "signal"))
    saved = frozenset(int(path.name[-8:]) for path in (folder / "signal" / "checkpoints").iterdir())
    plain = [job | {"steps": stopped_at + 1} for job in (whole, signalled)]
    plain += [
        toml(rooms, base, folder / f"two-{way}", batch_size=1, steps=STEPS, processes=2, cache=cache)
        for way, cache in WAYS.items()
    ]
    plain.append(toml(rooms, base, folder / "two-reward", batch_size=1, steps=2, processes=2, **REWARD))
    plain.append(toml(held_out, base, folder / "two-fidelity", batch_size=1, processes=2, **FIDELITY))
    plain += [
        toml(data, base, folder / "shards", batch_size=1, steps=steps, processes=2)
        for data, steps in ((rooms, STEPS - 1), (shards, STEPS))
    ]
    jobs = [(job, dict[str, str]()) for job in plain]
    jobs += sharded(rooms, base, folder / "sharded", "SHARDED_STATE_DICT", cache=True)
    jobs.append((toml(rooms / "nothing", base, folder / "failed", batch_size=1), {}))
    done = cluster.launch(folder / "jobs", jobs)
    assert done.returncode != 0
    return Runs(
        folder=folder,
        whole=folder / "whole",
        signalled=folder / "signal",
        exit_code=stopped.returncode,
        stopped_at=stopped_at,
        saved=saved,
        sharded=folder / "sharded",
        failure=done.stderr,
    )


@CELLS
def test_processes_average_their_gradients(runs: Runs, rooms: Path, base: Path, way: str, tmp_path: Path) -> None:
    """Two processes with one photo each equal one process with two, up to rounding."""
    one = train(rooms, base, tmp_path / "one", batch_size=2, steps=STEPS, learning_rate=RATE, cache=WAYS[way])

    require_near(runs.folder / f"two-{way}", one, RATE, STEPS)


@pytest.mark.slow
def test_processes_share_a_batch_of_sdxl(rooms: Path, sdxl: Path, tmp_path: Path) -> None:
    """Sizes and crops are those of each process's photos: two processes equal one."""
    done = cluster.launch(
        tmp_path / "jobs", [(toml(rooms, sdxl, tmp_path / "two", batch_size=1, steps=2, processes=2), {})]
    )
    assert done.returncode == 0, done.stderr
    one = train(rooms, sdxl, tmp_path / "one", batch_size=2, steps=2, learning_rate=RATE)

    require_near(tmp_path / "two", one, RATE, 2)


def test_processes_share_a_reward(runs: Runs, rooms: Path, base: Path, tmp_path: Path) -> None:
    """Two processes, of which one has a rewarded photo at each step, equal one process with both photos."""
    one = train(rooms, base, tmp_path / "one", batch_size=2, steps=2, learning_rate=RATE, **REWARD)

    # Two steps only: AdamW's first steps turn rounding of tiny gradients into steps of the learning rate's size, and
    # the gradient through a VAE of random weights multiplies that.
    require_near(runs.folder / "two-reward", one, RATE, 2)
    for line, other in zip(log(runs.folder / "two-reward"), log(one), strict=True):
        for name in ("reward_loss", "reward_agreement", "reward_gradient"):
            assert line[name] == pytest.approx(other[name], rel=1e-3)


def test_processes_share_an_evaluation(
    runs: Runs, held_out: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, which draw two maps and one, log what one process does that draws all three."""
    monkeypatch.setattr("trainer.sample.sampler.STEPS", cluster.SAMPLING_STEPS)
    one = train(held_out, base, tmp_path / "one", batch_size=2, learning_rate=RATE, **FIDELITY)

    first, last = zip(*map(evaluated, (runs.folder / "two-fidelity", one)), strict=True)
    assert first[0] == first[1]  # before the first step, the weights are equal to the last bit
    assert last[0]["fidelity"] == pytest.approx(last[1]["fidelity"], abs=2e-3)


def evaluated(run: Path) -> list[dict[str, float]]:
    """Return the figures of a run's evaluations."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "fidelity" in name} for line in lines if "fidelity" in line]


def test_a_cache_changes_nothing_in_two_processes(runs: Runs) -> None:
    """Runs with and without it are equal, bit for bit."""
    cached, uncached = (runs.folder / f"two-{way}" for way in WAYS)

    assert log(cached) == log(uncached)
    assert same(weights_of(cached), weights_of(uncached))


def test_two_processes_resume_from_shards(runs: Runs) -> None:
    """Resumed with the last step's pictures from shards, a run equals an uninterrupted one, bit for bit."""
    whole, changed = runs.folder / "two-cache", runs.folder / "shards"

    assert log(whole) == log(changed)
    assert same(weights_of(whole), weights_of(changed))


def test_two_processes_stop_together(runs: Runs) -> None:
    """After SIGTERM to the launcher both processes stop at the same step, save it, and resume bit for bit."""
    assert runs.exit_code == 1
    assert 4 <= runs.stopped_at < 200
    assert runs.stopped_at in runs.saved
    assert log(runs.signalled) == log(runs.whole)
    assert same(weights_of(runs.signalled), weights_of(runs.whole))


def require_sharded(run: Path, plain: Path) -> None:
    """Assert that each process saved its shard, and that the weights became those of a plain run."""
    assert (run / "checkpoints" / "step-00000002" / "shards").is_dir()
    require_near(run, plain, RATE, STEPS)


def test_sharded_weights_are_trained_and_resumed(runs: Runs) -> None:
    """With FSDP, where each process holds a shard, weights become those of a plain run, also after a stop."""
    require_sharded(runs.sharded, runs.folder / "two-cache")
    assert len(evaluated(runs.sharded)) == 3  # before the first step, at the end before the stop, and at the end


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "way"),
    [("SHARDED_STATE_DICT", "no-cache"), ("FULL_STATE_DICT", "cache"), ("FULL_STATE_DICT", "no-cache")],
)
def test_every_kind_of_sharded_state_is_resumed(
    runs: Runs, rooms: Path, base: Path, tmp_path: Path, kind: str, way: str
) -> None:
    """So do those of runs without a cache, and of runs whose checkpoints gather the shards."""
    done = cluster.launch(tmp_path / "jobs", sharded(rooms, base, tmp_path / "run", kind, WAYS[way]))

    assert done.returncode == 0, done.stderr
    require_sharded(tmp_path / "run", runs.folder / f"two-{way}")


def test_an_error_in_one_process_ends_all(runs: Runs) -> None:
    """If the dataset is missing, both processes end, and one line is printed."""
    assert runs.failure.count("does not exist") == 1
    assert not (runs.folder / "failed").exists()
