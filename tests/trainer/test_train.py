"""segkit train: small networks of the real architecture, through the command line."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from tests.conftest import Models, Segkit
from tests.trainer import stopping
from tests.trainer.runs import log, log_lines, same, toml, train, weights_of, words
from trainer.run.log import RunLog

ROOT = Path(__file__).parents[2]

Way = dict[str, bool]

LOOKING = {"evaluate_every": 1000}
"""Looks before the first step and at every checkpoint."""


@pytest.fixture(scope="module", params=[{}, {"no_cache": True}], ids=["cache", "no-cache"])
def way(request: pytest.FixtureRequest) -> Way:
    """With the cache and without: what is exact with the one is exact with the other."""
    found: Way = request.param
    return found


@pytest.fixture(scope="module")
def whole(rooms: Path, base: Path, way: Way, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps without a stop, with looks. Do not change it."""
    return train(rooms, base, tmp_path_factory.mktemp("whole") / "run", **LOOKING, **way)


def test_a_run_leaves_what_people_load(whole: Path, base: Path) -> None:
    """Diffusers' folder, the file for A1111 and ComfyUI with what it says of itself, card, log and checkpoints."""
    from diffusers import ControlNetModel

    from trainer.checkpoints import identify, safe_load
    from trainer.checkpoints import ldm as layouts

    model = ControlNetModel.from_pretrained(whole / "controlnet", local_files_only=True)
    found = safe_load.read(whole / "run.safetensors")

    exported = layouts.load(found, dict(model.config))
    assert same(
        {k: v.half() for k, v in model.state_dict().items()}, {k: v.half() for k, v in exported.state_dict().items()}
    )
    assert identify.identify(found).precision == "fp16"
    assert found.metadata["base"] == "small"
    assert "licences apply" in found.metadata["licence"]
    assert len(found.metadata["palette_hash"]) == len(found.metadata["dataset_hash"]) == 64
    assert "ade20k" in (whole / "model-card.md").read_text()
    assert [line["step"] for line in log(whole)] == [1, 2, 3, 4, 5, 6]
    assert [path.name for path in sorted((whole / "checkpoints").iterdir())] == ["step-00000003", "step-00000006"]
    assert all("held_out_loss" in line for line in log(whole) if line["step"] % 3 == 0)


def test_training_changes_the_network(whole: Path, base: Path) -> None:
    """The zero convolutions are zero no more, and the base's files are as they were."""
    trained = weights_of(whole)
    assert float(trained["controlnet_down_blocks.3.weight"].abs().max()) > 0
    assert float(trained["controlnet_mid_block.weight"].abs().max()) > 0


def test_a_longer_run_goes_on_exactly(
    whole: Path, rooms: Path, base: Path, way: Way, tmp_path: Path, segkit: Segkit
) -> None:
    """Three steps, then six: losses, weights and log are those of six in one go, bit by bit."""
    run = tmp_path / "run"
    first = segkit(*words(rooms, base, run, steps=3, **LOOKING, **way))
    second = segkit(*words(rooms, base, run, **LOOKING, **way), "--json")

    assert (first.code, second.code) == (0, 0)
    assert json.loads(second.out)["resumed"] == 3
    assert log(run) == log(whole)
    assert same(weights_of(run), weights_of(whole))


def test_a_killed_run_goes_on_exactly(
    whole: Path, rooms: Path, base: Path, way: Way, tmp_path: Path, segkit: Segkit
) -> None:
    """Killed after a step that no checkpoint holds, in a process of its own; what a person typed is typed again."""
    run = tmp_path / "run"
    typed = words(rooms, base, run, checkpoint_every=4, **way)
    stopping = [sys.executable, "-m", "tests.trainer.stopping", "5", "SIGKILL"]
    killed = subprocess.run([*stopping, *typed], capture_output=True, check=False, cwd=ROOT)
    lines = len(log_lines(run))
    again = segkit(*typed, "--json")

    assert (killed.returncode, lines) == (-signal.SIGKILL, 5)
    assert (again.code, json.loads(again.out)["resumed"]) == (0, 4)
    assert [line["loss"] for line in log(run)] == [line["loss"] for line in log(whole)]
    assert same(weights_of(run), weights_of(whole))


def test_a_run_stopped_gently_goes_on_exactly(
    whole: Path, rooms: Path, base: Path, way: Way, tmp_path: Path, segkit: Segkit
) -> None:
    """Ctrl-C: the step that is on its way is finished and saved, and the exit code says that it was stopped."""
    run = tmp_path / "run"
    typed = words(rooms, base, run, checkpoint_every=100, **way)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "write", stopping.at(3, lambda: signal.raise_signal(signal.SIGINT)))
        stopped = segkit(*typed)
    lines = len(log_lines(run))
    again = segkit(*typed, "--json")

    assert (stopped.code, lines) == (130, 4)
    assert (again.code, json.loads(again.out)["resumed"]) == (0, 4)
    assert [line["loss"] for line in log(run)] == [line["loss"] for line in log(whole)]
    assert same(weights_of(run), weights_of(whole))


def test_a_broken_checkpoint_is_passed_over(
    whole: Path, rooms: Path, base: Path, way: Way, tmp_path: Path, segkit: Segkit
) -> None:
    """The newest whole one counts, not the newest."""
    run = shutil.copytree(whole, tmp_path / "run")
    weights = run / "checkpoints" / "step-00000006" / "controlnet.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)

    again = segkit(*words(rooms, base, run, **LOOKING, **way), "--json")

    assert json.loads(again.out)["resumed"] == 3
    assert same(weights_of(run), weights_of(whole))


def test_the_number_of_processes_is_kept_to(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Asking for two and getting one is an error that tells how to start two."""
    done = segkit(*words(rooms, base, tmp_path / "run", processes=2))
    assert (done.code, list(tmp_path.iterdir())) == (2, [])
    assert "--processes 2, but 1 run. Start them with: torchrun --nproc-per-node 2" in done.err


@pytest.mark.parametrize(
    "changed",
    [
        {"accumulate": 2, "gradient_checkpointing": True}, {"only_mid_control": True, "prediction": "v_prediction"},
        {"sd_unlocked": True}, {"warmup": 2, "prompt_dropout": 0.5, "no_flip": True}, {"precision": "bf16"},
        {"batch_size": 1}, {"ema": 0.9, "balance": True}, {"compile": True, "no_cache": True},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_each_way_of_training_goes_on_exactly(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, changed: dict[str, Any]
) -> None:
    """Whatever the options: two steps, then four, equal four in one go."""
    torch.compiler.set_stance("force_eager")  # with --compile, the graphs are left uncompiled, for time's sake
    for run, steps in (("whole", 4), ("halves", 2), ("halves", 4)):
        done = segkit(*words(rooms, base, tmp_path / run, steps=steps, checkpoint_every=2, **changed))
        assert (done.code, done.err) == (0, "")
    assert log(tmp_path / "whole") == log(tmp_path / "halves")
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "halves"))


def test_a_schedule_ends_where_it_was_told_to(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The rate rises and falls by the number of steps, so that another number is another run; fewer are never taken."""
    run, how = tmp_path / "run", {"schedule": "cosine", "warmup": 2}
    assert segkit(*words(rooms, base, run, steps=4, checkpoint_every=2, **how)).code == 0
    longer = segkit(*words(rooms, base, run, steps=6, checkpoint_every=2, **how))
    assert [line["learning_rate"] for line in log(run)] == pytest.approx([5e-4, 1e-3, 1e-3, 5e-4])
    assert (longer.code, "--steps was 4, now 6" in longer.err) == (2, True)

    constant = tmp_path / "constant"
    assert segkit(*words(rooms, base, constant, steps=2)).code == 0
    fewer = segkit(*words(rooms, base, constant, steps=1))
    assert (fewer.code, "has taken 2 steps; --steps 1 is fewer" in fewer.err) == (2, True)


def test_what_is_frozen_stays_as_it_was(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Only the middle: the other zero convolutions stay zero. Unlocked: the up blocks move, the rest does not."""
    assert segkit(*words(rooms, base, tmp_path / "mid", steps=2, only_mid_control=True)).code == 0
    assert segkit(*words(rooms, base, tmp_path / "open", steps=2, sd_unlocked=True)).code == 0

    trained = weights_of(tmp_path / "mid")
    before = load_file(base / "unet" / "diffusion_pytorch_model.safetensors")
    after = load_file(tmp_path / "open" / "base" / "unet" / "diffusion_pytorch_model.safetensors")

    assert all(float(trained[name].abs().max()) == 0 for name in trained if name.startswith("controlnet_down_blocks"))
    assert float(trained["controlnet_mid_block.weight"].abs().max()) > 0
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"up_blocks", "conv_norm_out", "conv_out"}
    assert not (tmp_path / "mid" / "base").exists()


def test_an_unlocked_base_comes_back_as_it_was_given(
    rooms: Path, base: Path, models: Models, tmp_path: Path, segkit: Segkit
) -> None:
    """From a single file: a folder for diffusers, whose CLIP has the names that others know, and a single file."""
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import save_file

    from tests.trainer import single_file
    from trainer.checkpoints import load, safe_load

    source = tmp_path / "deliberate.safetensors"
    before = single_file.state(load.load_base(str(base)))
    save_file(before, source)
    run = tmp_path / "run"
    done = segkit(*words(rooms, source, run, steps=2, sd_unlocked=True, tokenizer=models.clip))

    assert (done.code, done.err) == (0, "")
    file = load.load_base(str(run / "run-base.safetensors"), str(models.clip))
    folder = StableDiffusionPipeline.from_pretrained(run / "base", local_files_only=True)
    assert same(file.unet.state_dict(), folder.unet.state_dict())
    assert same(file.text_encoder.state_dict(), folder.text_encoder.state_dict())
    assert same(file.vae.state_dict(), folder.vae.state_dict())
    after = safe_load.read(run / "run-base.safetensors")
    assert all(
        name.startswith("text_model.") for name in load_file(run / "base" / "text_encoder" / "model.safetensors")
    )
    moved = {name.split(".")[2] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"output_blocks", "out"}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"resolution": 128}, "--resolution was 64, now 128"),
        ({"seed": 1}, "--seed was 0, now 1"),
        ({"batch_size": 1}, "--batch-size was 2, now 1"),
    ],
)
def test_a_run_is_not_gone_on_with_otherwise(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, changed: dict[str, Any], told: str
) -> None:
    """Another option is told, and nothing is changed."""
    assert segkit(*words(rooms, base, tmp_path / "run", steps=1)).code == 0
    before = (tmp_path / "run" / "run.json").read_bytes()

    done = segkit(*words(rooms, base, tmp_path / "run", steps=2, **changed))

    assert (done.code, told in done.err) == (2, True)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_config_holds_every_option_and_flags_win(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The resolved one is kept in the run, and can be typed as it is."""
    (tmp_path / "my.toml").write_text(tomli_w.dumps(toml(rooms, base, tmp_path / "run", steps=1, seed=7, flip=False)))

    done = segkit("train", "--config", tmp_path / "my.toml", "--seed", 8)
    again = segkit("train", "--config", tmp_path / "run" / "run.toml", "--json")

    import tomllib

    kept = tomllib.loads((tmp_path / "run" / "run.toml").read_text())
    assert (done.code, kept["seed"], kept["flip"], kept["steps"]) == (0, 8, False, 1)
    assert (again.code, json.loads(again.out)["resumed"]) == (0, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stepps = 3", "unknown option stepps. Did you mean steps?"),
        ("steps = '3'", "steps is '3'; expected int"),
        ("flip = 1", "flip is 1; expected bool"),
        ("steps =", "not valid TOML"),
        ("steps = 0", "--steps 0: expected 1 or more"),
    ],
)
def test_a_faulty_config_is_told(rooms: Path, tmp_path: Path, segkit: Segkit, text: str, told: str) -> None:
    """In one line."""
    (tmp_path / "my.toml").write_text(text)
    done = segkit("train", rooms, "--config", tmp_path / "my.toml", "-o", tmp_path / "run")
    assert (done.code, told in done.err, done.err.count("\n")) == (2, True, 1)
    assert not (tmp_path / "run").exists()
