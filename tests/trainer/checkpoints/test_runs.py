"""Which weights of a run are used."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from segkit.errors import ModelError
from tests.conftest import Segkit
from tests.trainer.runs import train, weights_of, words
from trainer.checkpoints import find, load, runs, safe_load


@pytest.fixture(scope="module")
def finished(rooms: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four steps with moving averages and checkpoints at steps 2 and 4. Do not modify it."""
    return train(rooms, base, tmp_path_factory.mktemp("runs") / "run", steps=4, checkpoint_every=2, ema=0.9)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, with another file that comes first by name."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for place in (folder, folder / "controlnet"):
        (place / "a.safetensors").write_bytes(b"not these weights")
    return folder


def change(path: Path) -> None:
    """Change the last byte of a file."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def loaded(name: Path, base: Path) -> dict[str, torch.Tensor]:
    """Return the weights that a ControlNet of this name has."""
    weights: dict[str, torch.Tensor] = load.load_controlnet(str(name), load.load_base(str(base))).state_dict()
    return weights


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Return whether weights are equal, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_finished_run_is_its_result(run: Path, base: Path) -> None:
    """Other files in the folder are not considered, and the note names the step."""
    weights = find.find_controlnet(str(run))

    assert weights.path == run / "controlnet"
    assert weights.note == f"ControlNet: {run}, step 4, the result of a finished run."
    assert same(loaded(run, base), weights_of(run))


def test_a_changed_result_is_refused(run: Path) -> None:
    """The recorded hashes decide, not the name; the message says how to write the result again."""
    change(run / "controlnet" / "diffusion_pytorch_model.safetensors")

    with pytest.raises(ModelError, match=r"diffusion_pytorch_model.safetensors is missing or was changed .* same opt"):
        find.find_controlnet(str(run))


def test_an_unfinished_run_is_its_newest_whole_checkpoint(run: Path, base: Path, finished: Path) -> None:
    """With the moving averages, which the result would have; a damaged checkpoint is passed over."""
    (run / "result.json").unlink()
    newest = find.find_controlnet(str(run))
    assert same(loaded(run, base), weights_of(finished))

    change(run / "checkpoints" / "step-00000004" / "controlnet.safetensors")
    older = find.find_controlnet(str(run))

    assert newest.note == f"ControlNet: {run}, step 4 of 4, the newest checkpoint of an unfinished run."
    assert older.path == run / "checkpoints" / "step-00000002" / "controlnet.safetensors"
    assert "step 2 of 4" in older.note


def test_averages_are_those_of_the_weights_that_are_trained(rooms: Path, base: Path, tmp_path: Path) -> None:
    """A run that trains the middle block's residual alone has no averages of the others, unfinished or not."""
    run = train(rooms, base, tmp_path / "run", steps=2, checkpoint_every=2, ema=0.5, only_mid_control=True)
    (run / "result.json").unlink()

    assert same(loaded(run, base), weights_of(run))


def test_a_run_that_trains_on_is_its_newer_checkpoint(run: Path) -> None:
    """A result of fewer steps than a whole checkpoint is no longer the run's state; of a damaged one it still is."""
    record = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(record | {"steps": 3}))
    newer = find.find_controlnet(str(run))
    change(run / "checkpoints" / "step-00000004" / "controlnet.safetensors")
    result = find.find_controlnet(str(run))

    assert newer.path.parent.name == "step-00000004"
    assert result.path == run / "controlnet"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: shutil.rmtree(run / "checkpoints"), "without a finished result or a whole checkpoint"),
        (lambda run: (run / "result.json").write_text("{"), "result.json is damaged"),
        (lambda run: (run / "run.toml").write_text("steps = 9\nsd_unlocked = true\n"), "also trains the base"),
        (
            lambda run: [path.rename(path.with_name("shards")) for path in run.rglob("controlnet.safetensors")],
            "without a finished result or a whole checkpoint",
        ),
    ],
    ids=["no weights", "record", "unlocked", "moved"],
)
def test_a_run_without_usable_weights_is_refused(run: Path, damage: Any, message: str) -> None:
    """The message says what is missing and how to get it."""
    (run / "result.json").unlink()
    damage(run)

    with pytest.raises(ModelError, match=message):
        find.find_controlnet(str(run))


def test_a_checkpoint_can_be_named(run: Path, base: Path) -> None:
    """Its folder is a ControlNet; base and palette are those of its run."""
    checkpoint = run / "checkpoints" / "step-00000002"

    assert find.find_controlnet(str(checkpoint)).note == f"ControlNet: {checkpoint}, the checkpoint of step 2."
    assert runs.containing(checkpoint) == run
    assert not same(loaded(checkpoint, base), weights_of(run))


def test_train_generate_inspect_and_export_say_which_step(
    run: Path, rooms: Path, base: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """All of them use the same weights of a run; export refuses an unfinished one."""
    (run / "result.json").unlink()
    step = "step 4 of 4, the newest checkpoint of an unfinished run"
    trained = segkit(*words(rooms, base, tmp_path / "next", steps=1, controlnet=run))
    sampling = ["--resolution", "64", "--steps", "1", "-o", tmp_path / "pictures"]
    drawn = segkit("generate", "--map", rooms, "--controlnet", run, *sampling)
    inspected = segkit("inspect", run)
    exported = segkit("export", run, "--to", "pth")

    assert [result.code for result in (trained, drawn, inspected, exported)] == [0, 0, 0, 2]
    assert all(step in result.out for result in (trained, drawn, inspected))
    assert "is unfinished: its newest checkpoint is step-00000004" in exported.err


def test_a_finished_run_is_exported_again(run: Path, rooms: Path, base: Path, segkit: Segkit) -> None:
    """Training a finished run again takes no step and repairs its result."""
    change(run / "controlnet" / "diffusion_pytorch_model.safetensors")

    done = segkit(*words(rooms, base, run, steps=4, checkpoint_every=2, ema=0.9))

    assert (done.code, find.find_controlnet(str(run)).path) == (0, run / "controlnet")
    assert segkit("export", run, "--to", "ldm").code == 0
    own, exported = (safe_load.read(run / f"run{end}.safetensors").metadata for end in ("", "-export"))
    assert exported == own
    assert own["steps"] == "4"
