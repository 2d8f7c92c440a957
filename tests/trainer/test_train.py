"""segkit train on small networks of the real architecture: outputs, exact resume and configuration."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import Models, Segkit
from tests.trainer import stopping
from tests.trainer.conftest import base_folder
from tests.trainer.runs import log, log_lines, same, train, weights_of, words
from trainer.run.log import RunLog

pytestmark = pytest.mark.usefixtures("short_callbacks")

ROOT = Path(__file__).parents[2]

Options = dict[str, bool]

VALIDATED = {"evaluate_every": 1000}
"""Validation before the first step and at every checkpoint."""


@pytest.fixture(scope="module", params=[{}, {"no_cache": True}], ids=["cache", "no-cache"])
def options(request: pytest.FixtureRequest) -> Options:
    """Options with the cache and without: both resume exactly."""
    cache: Options = request.param
    return cache


@pytest.fixture(scope="module")
def whole(
    rooms: Path, base: Path, options: Options, short_callbacks: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An uninterrupted run of six steps with validation. Do not modify it."""
    return train(rooms, base, tmp_path_factory.mktemp("whole") / "run", **VALIDATED, **options)


def test_a_run_writes_its_artefacts(whole: Path, base: Path) -> None:
    """A run writes a diffusers folder, a single file with metadata, a model card, a log and checkpoints."""
    from diffusers import ControlNetModel

    from trainer.checkpoints import identify, safe_load
    from trainer.checkpoints import ldm as layouts

    model = ControlNetModel.from_pretrained(whole / "controlnet", local_files_only=True)
    file = safe_load.read(whole / "run.safetensors")

    exported = layouts.load(file, dict(model.config))
    assert same(
        {k: v.half() for k, v in model.state_dict().items()}, {k: v.half() for k, v in exported.state_dict().items()}
    )
    assert identify.identify(file).precision == "fp16"
    assert file.metadata["base"] == "small"
    assert file.metadata["licence"] == "A derivative of its base (small): its licence applies."
    assert len(file.metadata["palette_hash"]) == len(file.metadata["dataset_hash"]) == 64
    assert "ade20k" in (whole / "model-card.md").read_text()
    assert [line["step"] for line in log(whole)] == [1, 2, 3, 4, 5, 6]
    assert [path.name for path in sorted((whole / "checkpoints").iterdir())] == ["step-00000003", "step-00000006"]
    assert all("held_out_loss" in line for line in log(whole) if line["step"] % 3 == 0)


def test_training_changes_the_weights(whole: Path, base: Path) -> None:
    """After training, the zero convolutions are not zero."""
    trained = weights_of(whole)
    assert float(trained["controlnet_down_blocks.3.weight"].abs().max()) > 0
    assert float(trained["controlnet_mid_block.weight"].abs().max()) > 0


def test_an_extended_run_is_exact(
    whole: Path, rooms: Path, base: Path, options: Options, tmp_path: Path, segkit: Segkit
) -> None:
    """Three steps extended to six equal six uninterrupted steps in losses, weights and log, bit for bit."""
    run = tmp_path / "run"
    first = segkit(*words(rooms, base, run, steps=3, **VALIDATED, **options))
    second = segkit(*words(rooms, base, run, **VALIDATED, **options), "--json")

    assert (first.code, second.code) == (0, 0)
    assert json.loads(second.out)["resumed"] == 3
    assert log(run) == log(whole)
    assert same(weights_of(run), weights_of(whole))


@pytest.mark.parametrize("options", [{}], ids=["cache"], indirect=True)
def test_a_killed_run_resumes_exactly(
    whole: Path, rooms: Path, base: Path, options: Options, tmp_path: Path, segkit: Segkit
) -> None:
    """Killed after a step that no checkpoint has, a run resumes bit for bit with the same command."""
    run = tmp_path / "run"
    arguments = words(rooms, base, run, checkpoint_every=4, **options)
    launcher = [sys.executable, "-m", "tests.trainer.stopping", "5", "SIGKILL"]
    killed = subprocess.run([*launcher, *arguments], capture_output=True, check=False, cwd=ROOT)
    lines = len(log_lines(run))
    again = segkit(*arguments, "--json")

    assert (killed.returncode, lines) == (-signal.SIGKILL, 5)
    assert (again.code, json.loads(again.out)["resumed"]) == (0, 4)
    assert [line["loss"] for line in log(run)] == [line["loss"] for line in log(whole)]
    assert same(weights_of(run), weights_of(whole))


def test_an_interrupted_run_resumes_exactly(
    whole: Path, rooms: Path, base: Path, options: Options, tmp_path: Path, segkit: Segkit
) -> None:
    """On Ctrl-C the current step is finished and saved, and the exit code is 130."""
    run = tmp_path / "run"
    arguments = words(rooms, base, run, checkpoint_every=100, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "write", stopping.at(3, lambda: signal.raise_signal(signal.SIGINT)))
        stopped = segkit(*arguments)
    lines = len(log_lines(run))
    again = segkit(*arguments, "--json")

    assert (stopped.code, lines) == (130, 4)
    assert (again.code, json.loads(again.out)["resumed"]) == (0, 4)
    assert [line["loss"] for line in log(run)] == [line["loss"] for line in log(whole)]
    assert same(weights_of(run), weights_of(whole))


def test_a_damaged_checkpoint_is_skipped(
    whole: Path, rooms: Path, base: Path, options: Options, tmp_path: Path, segkit: Segkit
) -> None:
    """A run resumes from the newest checkpoint whose hashes match."""
    run = shutil.copytree(whole, tmp_path / "run")
    weights = run / "checkpoints" / "step-00000006" / "controlnet.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)

    again = segkit(*words(rooms, base, run, **VALIDATED, **options), "--json")

    assert json.loads(again.out)["resumed"] == 3
    assert same(weights_of(run), weights_of(whole))


def test_the_number_of_processes_is_enforced(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """--processes 2 in a single process is an error with the command that starts two."""
    done = segkit(*words(rooms, base, tmp_path / "run", processes=2))
    assert (done.code, list(tmp_path.iterdir())) == (2, [])
    assert "--processes 2, but the number of processes is 1. Run: torchrun --nproc-per-node 2" in done.err


@pytest.mark.parametrize(
    "changed",
    [
        {"accumulate": 2, "gradient_checkpointing": True}, {"only_mid_control": True, "prediction": "v_prediction"},
        {"sd_unlocked": True}, {"warmup": 2, "prompt_dropout": 0.5, "no_flip": True}, {"precision": "bf16"},
        {"batch_size": 1}, {"ema": 0.9, "balance": True}, {"compile": True, "no_cache": True},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_every_option_resumes_exactly(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, changed: dict[str, Any]
) -> None:
    """With any of the options, a run extended to twice its steps equals an uninterrupted one."""
    torch.compiler.set_stance("force_eager")  # compiling the graphs would take minutes
    half = 2 if "warmup" in changed else 1
    for run, steps in (("whole", 2 * half), ("halves", half), ("halves", 2 * half)):
        done = segkit(*words(rooms, base, tmp_path / run, steps=steps, checkpoint_every=half, **changed))
        assert (done.code, done.err) == (0, "")
    assert log(tmp_path / "whole") == log(tmp_path / "halves")
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "halves"))


def test_frozen_weights_do_not_change(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """--only-mid-control keeps the other zero convolutions; --sd-unlocked changes up blocks and output only."""
    assert segkit(*words(rooms, base, tmp_path / "mid", steps=2, only_mid_control=True)).code == 0
    unlocked = segkit(*words(rooms, base, tmp_path / "open", steps=2, sd_unlocked=True))
    assert unlocked.code == 0
    assert "because the base was not loaded from one." in unlocked.out

    trained = weights_of(tmp_path / "mid")
    before = load_file(base / "unet" / "diffusion_pytorch_model.safetensors")
    after = load_file(tmp_path / "open" / "base" / "unet" / "diffusion_pytorch_model.safetensors")

    assert all(float(trained[name].abs().max()) == 0 for name in trained if name.startswith("controlnet_down_blocks"))
    assert float(trained["controlnet_mid_block.weight"].abs().max()) > 0
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"up_blocks", "conv_norm_out", "conv_out"}
    assert not (tmp_path / "mid" / "base").exists()


def test_an_unlocked_base_is_exported_in_both_formats(
    rooms: Path, models: Models, tmp_path: Path, segkit: Segkit
) -> None:
    """A base from a single file is exported as a diffusers folder, with the usual CLIP names, and as a single file."""
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import save_file

    from tests.trainer import single_file
    from trainer.checkpoints import load, safe_load

    source = tmp_path / "deliberate.safetensors"
    before = single_file.state(load.load_base(str(base_folder(tmp_path / "base", models.clip))))
    save_file(before, source)
    run = tmp_path / "run"
    done = segkit(*words(rooms, source, run, steps=2, sd_unlocked=True, tokenizer=models.clip))

    assert (done.code, done.err) == (0, "")
    file = load.load_base(str(run / "run-base.safetensors"), str(models.clip))
    folder = StableDiffusionPipeline.from_pretrained(run / "base", local_files_only=True)
    assert same(file.unet.state_dict(), folder.unet.state_dict())
    assert same(file.text_encoders[0].state_dict(), folder.text_encoder.state_dict())
    assert same(file.vae.state_dict(), folder.vae.state_dict())
    after = safe_load.read(run / "run-base.safetensors")
    assert all(
        name.startswith("text_model.") for name in load_file(run / "base" / "text_encoder" / "model.safetensors")
    )
    moved = {name.split(".")[2] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"output_blocks", "out"}
    note = "base/ for diffusers, run-base.safetensors for A1111, Forge and ComfyUI."
    assert done.out.strip().endswith(note)
    assert note in (run / "model-card.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda:9"}, "device cuda:9 is not available"),
        ({"device": "cuda", "cpu": True}, "--device 'cuda': expected cpu, because cpu is set"),
        ({"device": "cpu", "precision": "fp16"}, "precision fp16 needs a CUDA device"),
    ],
)
def test_an_unavailable_device_is_reported(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, options: dict[str, Any], message: str
) -> None:
    """The error names the device or precision that cannot be used, and no run is created."""
    done = segkit(*words(rooms, base, tmp_path / "run", **options))

    assert (done.code, message in done.err, done.err.count("\n")) == (2, True, 1)
    assert not (tmp_path / "run").exists()
