"""segkit train --start-strength: a ControlNet starts as if it were drawn at that strength, and is scaled only once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import Segkit
from tests.trainer.conftest import steering
from tests.trainer.learners import prepared
from tests.trainer.runs import log, same, train, weights_of, words
from trainer.checkpoints import configs, load, union

STILL = {"steps": 1, "learning_rate": 1e-30}
"""A training that changes no weight: the step is smaller than what fp32 resolves."""


@pytest.fixture
def source(base: Path, tmp_path: Path) -> Path:
    """A ControlNet that changes the pictures."""
    return steering(tmp_path / "source", base, 0.1)


def start_of(kind: str, base: Path, sdxl: Path, folder: Path) -> tuple[Path, Path]:
    """Return a base, and a ControlNet of it that changes its prediction."""
    if kind != "union":
        model = base if kind == "sd15" else sdxl
        return model, steering(folder / "source", model, 0.1)
    loaded = load.load_base(str(sdxl))
    config = configs.controlnet(loaded.unet.config, loaded.vae.config)
    network = union.model_class()(**config, num_control_type=8, num_trans_channel=32, num_proj_channel=32)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    network.save_pretrained(folder / "source")
    return sdxl, folder / "source"


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "union"])
@pytest.mark.parametrize("strength", [1.5, 0.3])
def test_its_residuals_are_those_at_the_conditioning_scale(
    kind: str, strength: float, base: Path, sdxl: Path, tmp_path: Path
) -> None:
    """Before the first step, all residuals are diffusers' for the original at this conditioning_scale, to rounding."""
    model, controlnet = start_of(kind, base, sdxl, tmp_path)
    loaded = load.load_base(str(model))
    original: Any = load.load_controlnet(str(controlnet), loaded)
    generator = torch.Generator().manual_seed(0)
    latents, control = torch.randn(2, 4, 8, 8, generator=generator), torch.rand(2, 3, 64, 64, generator=generator)
    prompts = torch.randn(2, *loaded.conditioning.shape(77), generator=generator)
    hidden, more = loaded.conditioning.inputs(prompts, torch.tensor([[64, 64, 0, 0, 64, 64]] * 2).float())
    inputs = {"controlnet_cond": control, "return_dict": False, **more}

    options: dict[str, Any] = {"controlnet": str(controlnet), "start_strength": strength}
    with prepared(model, tmp_path, **options) as training, torch.no_grad():
        down, mid = training.setup.model.controlnet(latents, torch.tensor([10, 900]), hidden, **inputs)
        expected_down, expected_mid = original(
            latents, torch.tensor([10, 900]), hidden, conditioning_scale=strength, **inputs
        )

    for residual, expected in zip([*down, mid], [*expected_down, expected_mid], strict=True):
        assert float((residual - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    assert f"as if drawn at strength {strength}." in training.setup.source


def test_its_pictures_are_those_drawn_at_the_strength(
    rooms: Path, base: Path, source: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """A run that changed no weight draws at strength 1 what the original draws at its start strength."""
    run = train(rooms, base, tmp_path / "run", controlnet=str(source), start_strength=2.0, **STILL)
    control_map = next(rooms.glob("maps/*/*.png"))

    def drawn(controlnet: Path, strength: float) -> Any:
        words = ["generate", "--map", control_map, "--prompt", "a room", "--base", base, "--steps", 3, "--resolution"]
        words += [
            64,
            "--controlnet",
            controlnet,
            "--strength",
            strength,
            "-o",
            tmp_path / f"{controlnet.name}-{strength}",
        ]
        assert segkit(*words).code == 0
        with Image.open(next((tmp_path / f"{controlnet.name}-{strength}").glob("*.png"))) as picture:
            return np.asarray(picture, int)

    assert np.abs(drawn(run, 1) - drawn(source, 2)).max() <= 1
    assert np.abs(drawn(source, 1) - drawn(source, 2)).max() > 10


def test_only_zero_convolutions_are_scaled(rooms: Path, base: Path, source: Path, tmp_path: Path) -> None:
    """Their weights and biases are multiplied; all other weights are the original's."""
    run = train(rooms, base, tmp_path / "run", controlnet=str(source), start_strength=1.5, **STILL)
    before: Any = load.load_controlnet(str(source), load.load_base(str(base)))
    after = weights_of(run)
    for name, weight in before.state_dict().items():
        scale = 1.5 if name.startswith(("controlnet_down_blocks.", "controlnet_mid_block.")) else 1
        assert torch.equal(after[name], weight * scale), name


@pytest.mark.parametrize("options", [{}, {"ema": 0.5}, {"only_mid_control": True}], ids=str)
def test_a_resumed_run_is_scaled_once(
    rooms: Path, base: Path, source: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Stopped after a step and resumed, losses and weights equal the uninterrupted run's bit for bit."""
    options = {"controlnet": str(source), "start_strength": 1.5, "checkpoint_every": 1, **options}
    whole = train(rooms, base, tmp_path / "whole", steps=2, **options)
    for steps in (1, 2):
        halves = train(rooms, base, tmp_path / "halves", steps=steps, **options)
    assert log(halves) == log(whole)
    assert same(weights_of(halves), weights_of(whole))


def test_it_is_a_setting_of_the_run(rooms: Path, base: Path, source: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The summary, the dry run and the model card name it; a run does not resume with another one."""
    options = {"controlnet": source, "steps": 1}
    run, sentence = tmp_path / "run", "The ControlNet starts as if drawn at strength 1.5."

    planned = segkit(*words(rooms, base, run, **options, start_strength=1.5), "--dry-run", "--json")
    done = segkit(*words(rooms, base, run, **options, start_strength=1.5))
    other = segkit(*words(rooms, base, run, **options | {"steps": 2}, start_strength=2.0))
    resumed = segkit(*words(rooms, base, run, **options | {"steps": 2}, start_strength=1.5))

    assert sentence in json.loads(planned.out)["notes"]
    assert (done.code, sentence in done.out) == (0, True)
    assert (other.code, "--start-strength 1.5 became --start-strength 2.0" in other.err) == (2, True)
    assert (resumed.code, sentence in resumed.out) == (0, False)
    assert "| start_strength | 1.5 |" in (run / "model-card.md").read_text()
