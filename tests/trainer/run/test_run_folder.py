"""A run folder belongs to one run with one set of settings and data, and is never taken from something else."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from segkit import storage
from segkit.errors import LockedError, TrainingError, UsageError
from segkit.palette import Palette
from tests.conftest import Segkit
from tests.trainer.runs import log, words
from trainer import settings
from trainer.checkpoints import rewards, store
from trainer.data.examples import Example, Examples
from trainer.run import run_folder
from trainer.settings import TrainSettings

ADE = Palette.load("ade20k")
SETTINGS = TrainSettings()
EXAMPLE = Example(Path("t/a.jpg"), Path("s/a.png"), "a room", 8, 8, "01" * 32, "ab" * 32)
DATA = Examples("fill50k", [EXAMPLE], [], ADE)


def facts(options: TrainSettings = SETTINGS, data: Examples = DATA, processes: int = 1) -> dict[str, Any]:
    """Return the facts of a training."""
    return run_folder.facts(options, Path("rooms"), data, processes)


def test_a_run_is_started_with_its_facts(tmp_path: Path) -> None:
    """Options, facts and palette are stored, and the same training may resume the run."""
    run_folder.require_same(tmp_path, facts(), DATA, False)  # not a run yet
    run_folder.start(tmp_path, SETTINGS, facts(), DATA)

    run_folder.require_same(tmp_path, facts(), DATA, False)
    assert json.loads((tmp_path / "run.json").read_text()) == facts() | {"directory": str(Path.cwd())}
    assert settings.read(tmp_path / "run.toml") == {"dataset": "rooms", "output": str(tmp_path), **asdict(SETTINGS)}
    assert Palette.load(tmp_path / "palette.csv").hash == ADE.hash


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"options": replace(SETTINGS, seed=1)}, "seed=0 became seed=1"),
        ({"options": replace(SETTINGS, batch_size=1)}, "batch_size=4 became batch_size=1"),
        ({"data": replace(DATA, train=[replace(EXAMPLE, photo_hash="23" * 32)])}, "the dataset has changed"),
        ({"data": replace(DATA, palette=None)}, "the palette has changed"),
        ({"processes": 2}, "the number of processes was 1, now 2"),
    ],
)
def test_another_training_does_not_resume_it(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    """The message names what differs."""
    run_folder.start(tmp_path, SETTINGS, facts(), DATA)
    with pytest.raises(UsageError, match=message):
        run_folder.require_same(tmp_path, facts(**changed), changed.get("data", DATA), False)


def test_an_option_that_was_left_out_is_called_so(tmp_path: Path) -> None:
    """Without its reward, a run does not have other weights of a segmenter; a VAE may also be added."""
    rewarded = facts(replace(SETTINGS, vae="place/sdxl-vae", reward="toy"))
    assert rewarded["told"]["vae"] == "sdxl-vae"
    run_folder.start(tmp_path, SETTINGS, rewarded, DATA)
    with pytest.raises(UsageError) as dropped:
        run_folder.require_same(tmp_path, facts(), DATA, False)
    assert "data: vae=place/sdxl-vae was left out; reward=toy was left out. Restore them" in str(dropped.value)

    changed = {**rewarded, "told": {**rewarded["told"], rewards.WEIGHTS: "others"}}
    with pytest.raises(UsageError, match="data: the weights of the reward's segmenter have changed"):
        run_folder.require_same(tmp_path, changed, DATA, False)
    run_folder.start(tmp_path, SETTINGS, facts(), DATA)
    with pytest.raises(UsageError, match="reward=toy was added"):
        run_folder.require_same(tmp_path, rewarded, DATA, False)


def test_all_differences_are_named(tmp_path: Path) -> None:
    """One message has all options that differ."""
    run_folder.start(tmp_path, SETTINGS, facts(), DATA)
    other = replace(DATA, train=[replace(EXAMPLE, photo_hash="23" * 32)])
    with pytest.raises(
        UsageError,
        match="flip=True became flip=False; seed=0 became seed=1; the dataset has changed: 1 with another photo, such "
        r"as t/a\.jpg\. Restore them",
    ):
        run_folder.require_same(tmp_path, facts(replace(SETTINGS, seed=1, flip=False), other), other, False)


def test_an_option_that_a_run_does_not_know_had_its_default(tmp_path: Path) -> None:
    """A run that began before cache_dtype existed resumes without it, and not with another one."""
    older = facts()
    del older["options"]["cache_dtype"]
    run_folder.start(tmp_path, SETTINGS, older, DATA)

    run_folder.require_same(tmp_path, facts(), DATA, False)
    with pytest.raises(UsageError, match="cache_dtype=auto became cache_dtype=fp16"):
        run_folder.require_same(tmp_path, facts(replace(SETTINGS, cache_dtype="fp16")), DATA, False)


def test_changed_data_may_be_accepted(tmp_path: Path) -> None:
    """What changed is said in words: triples added and removed, other photos, maps and prompts, another order."""
    second, third = (replace(EXAMPLE, photo=Path(f"t/{name}.jpg")) for name in "bc")
    run_folder.start(tmp_path, SETTINGS, facts(), replace(DATA, train=[EXAMPLE, second]))
    for train, words_of_change in (
        ([replace(EXAMPLE, text="x"), second], "1 with another prompt, such as t/a.jpg"),
        ([EXAMPLE, replace(second, map_hash="c" * 64)], "1 with another map, such as t/b.jpg"),
        ([EXAMPLE, third], "1 added, such as t/c.jpg, 1 removed, such as t/b.jpg"),
        ([second, EXAMPLE], "the order of the triples"),
        ([EXAMPLE, EXAMPLE, second], "1 added, such as t/a.jpg (2)"),
        ([EXAMPLE, second], ""),
    ):
        data = replace(DATA, train=train)
        assert run_folder.changes(tmp_path, data) == words_of_change
        run_folder.require_same(tmp_path, facts(data=data), data, True)
        if words_of_change:
            with pytest.raises(UsageError, match=r"Resume with the changed data: accept_changes=True\."):
                run_folder.require_same(tmp_path, facts(data=data), data, False)


@pytest.mark.parametrize("name", sorted(run_folder.MAY_CHANGE))
def test_some_options_may_change(name: str) -> None:
    """They are not part of the facts, and they exist."""
    assert hasattr(SETTINGS, name)
    assert name not in facts()["options"]


def test_a_schedule_depends_on_the_steps() -> None:
    """The number of steps counts only where the learning rate depends on it."""
    assert "steps" not in facts()["options"]
    assert facts(replace(SETTINGS, schedule="linear"))["options"]["steps"] == SETTINGS.steps


def test_a_damaged_run_json_is_reported(tmp_path: Path) -> None:
    """The message names the file and the way on."""
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(TrainingError, match=r"run\.json is damaged .* Start a new run in another folder"):
        run_folder.require_same(tmp_path, facts(), DATA, False)


def test_the_newest_checkpoint_is_resumed(tmp_path: Path) -> None:
    """A run without a checkpoint is new; one with more steps than requested, or with other facts, is refused."""
    run_folder.start(tmp_path, SETTINGS, facts(), DATA)
    assert run_folder.newest(tmp_path, facts(), DATA, 10, False) is None
    for step in (3, 5):
        store.finish(store.stage(tmp_path / "checkpoints", step), step, {}, None, {})

    newest = run_folder.newest(tmp_path, facts(), DATA, 5, False)

    assert newest is not None
    assert newest.step == 5
    with pytest.raises(UsageError, match=r"has already taken 5 steps; steps=4 is fewer\. Pass a larger number"):
        run_folder.newest(tmp_path, facts(), DATA, 4, False)
    with pytest.raises(UsageError, match="was started with other settings"):
        run_folder.newest(tmp_path, facts(processes=2), DATA, 5, False)


def test_a_claimed_folder_is_locked(tmp_path: Path) -> None:
    """Nobody else can claim it meanwhile, and one in which no run began is removed again."""
    run = tmp_path / "deep" / "run"
    with run_folder.claimed(run):
        assert run.is_dir()
        with pytest.raises(LockedError, match=rf"^{run} is being written"), run_folder.claimed(run):
            pass
    assert not run.exists()


def test_a_claimed_run_stays(tmp_path: Path) -> None:
    """Its unfinished files of a kill are removed, all others are kept."""
    run_folder.start(tmp_path, SETTINGS, facts(), DATA)
    (tmp_path / "mine.txt").write_text("x")
    (tmp_path / f"{storage.TEMPORARY}0123456789ab").write_text("half")

    with run_folder.claimed(tmp_path):
        pass

    names = {path.name for path in tmp_path.iterdir()} - {".lock"}
    assert names == {"run.toml", "run.json", "examples.json", "palette.csv", "mine.txt"}


def test_a_file_is_not_a_run_folder(tmp_path: Path) -> None:
    """The path of a file is refused, and the file is kept."""
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(UsageError, match=r"file is a file\. Choose a new folder"),
        run_folder.claimed(tmp_path / "file"),
    ):
        pass
    assert (tmp_path / "file").read_text() == "x"


def test_other_files_are_not_overwritten(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A folder that is not a run is refused; a missing base leaves no folder behind."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("x")

    assert "contains files that are not a run's" in segkit(*words(rooms, base, tmp_path / "mine")).err
    assert segkit(*words(rooms, tmp_path / "nothing", tmp_path / "run")).code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_run_killed_before_it_began_can_be_started(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A folder without run.toml, but with files of a run that was killed before it wrote one, is accepted."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "palette.csv").write_text("index,name,r,g,b\n0,wall,1,2,3\n")
    (run / ".part-0123456789ab").write_text("half")
    (run / "cache" / "latents-0123-float32").mkdir(parents=True)

    assert segkit(*words(rooms, base, run, steps=1)).code == 0
    assert not list(run.rglob(".part-*"))


def test_a_changed_dataset_is_refused(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A run resumes with edited prompts only if asked to, and then says what changed."""
    edited = shutil.copytree(rooms, tmp_path / "mine")
    assert segkit(*words(edited, base, tmp_path / "run", steps=1)).code == 0
    key = next(edited.glob("images/*/*")).stem
    assert segkit("caption", edited, "--edit", key, "quite another room").code == 0

    done = segkit(*words(edited, base, tmp_path / "run", steps=2))
    accepted = segkit(*words(edited, base, tmp_path / "run", steps=2), "--accept-changes")
    again = segkit(*words(edited, base, tmp_path / "run", steps=3))

    assert done.code == 2
    assert "was started with other settings or data: the dataset has changed: 1 with another prompt" in done.err
    assert "Resume with the changed data: --accept-changes." in done.err
    assert (accepted.code, again.code) == (0, 0)
    assert "Resumed with changed data: 1 with another prompt, such as" in accepted.out
    assert len(log(tmp_path / "run")) == 3


@pytest.mark.parametrize(("by", "order"), [("held_out_loss", [1, 2, 2, 4]), ("control_gap", [1, 1, 3, 3])])
def test_the_best_checkpoint_follows_the_metric(tmp_path: Path, by: Any, order: list[int]) -> None:
    """The lowest loss or highest gap wins; missing values change nothing, and repeated steps start over."""
    values = {"held_out_loss": [0.5, 0.4, 0.6, 0.3], "control_gap": [0.2, 0.1, 0.3, 0.25]}[by]
    chosen = TrainSettings(best_by=by)
    assert run_folder.best(tmp_path, 0, chosen, None) is None
    assert [run_folder.best(tmp_path, step, chosen, value) for step, value in enumerate(values, 1)] == order
    assert run_folder.best(tmp_path, 5, chosen, None) == order[-1]
    assert run_folder.best(tmp_path, 1, chosen, 0.9 if by == "held_out_loss" else 0.0) == 1
    other = TrainSettings(best_by="control_gap" if by == "held_out_loss" else "held_out_loss")
    assert run_folder.best(tmp_path, 2, other, 0.1) == 2


def test_a_schedule_fixes_the_number_of_steps(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A cosine schedule depends on --steps, so it cannot change; a constant one allows more steps, but not fewer."""
    run, schedule = tmp_path / "run", {"schedule": "cosine", "warmup": 2}
    assert segkit(*words(rooms, base, run, steps=4, checkpoint_every=2, **schedule)).code == 0
    longer = segkit(*words(rooms, base, run, steps=6, checkpoint_every=2, **schedule))
    assert [line["learning_rate"] for line in log(run)] == pytest.approx([5e-4, 1e-3, 1e-3, 5e-4])
    assert (longer.code, "--steps 4 became --steps 6" in longer.err) == (2, True)

    constant = tmp_path / "constant"
    assert segkit(*words(rooms, base, constant, steps=2)).code == 0
    fewer = segkit(*words(rooms, base, constant, steps=1))
    assert (fewer.code, "has already taken 2 steps; --steps 1 is fewer" in fewer.err) == (2, True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"resolution": 128}, "--resolution 64 became --resolution 128"),
        ({"seed": 1}, "--seed 0 became --seed 1"),
        ({"batch_size": 1}, "--batch-size 2 became --batch-size 1"),
    ],
)
def test_a_run_does_not_resume_with_other_settings(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, changed: dict[str, Any], message: str
) -> None:
    """The message names the changed option, and the run is not modified."""
    assert segkit(*words(rooms, base, tmp_path / "run", steps=1)).code == 0
    before = (tmp_path / "run" / "run.json").read_bytes()

    done = segkit(*words(rooms, base, tmp_path / "run", steps=2, **changed))

    assert (done.code, message in done.err) == (2, True)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_the_device_may_change(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A run resumes with another --device, which run.json does not record."""
    assert segkit(*words(rooms, base, tmp_path / "run", steps=1)).code == 0
    resumed = segkit(*words(rooms, base, tmp_path / "run", steps=2, device="cpu"), "--json")

    assert json.loads(resumed.out)["resumed"] == 1
    assert "device" not in json.loads((tmp_path / "run" / "run.json").read_text())["options"]
