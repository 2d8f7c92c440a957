"""A picture is the same in a batch as alone, to the last bit, and the same as that of diffusers' pipeline."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from segkit.models import hub
from tests.trainer.runs import path_of
from tests.trainer.sample.maps import ADE, write_map
from trainer.checkpoints import find, load
from trainer.sample import networks, sampler, sources
from trainer.sample.batching import ExactBatches
from trainer.sample.requests import DrawRequest, Subject
from trainer.settings import GenerateSettings

SIZE = (64, 64)


@pytest.fixture(scope="module")
def settings(base: Path, controlnet_folder: Path) -> GenerateSettings:
    """Four steps: guided alone, guided and steered, steered alone, neither."""
    return GenerateSettings(
        base=str(base), controlnet=str(controlnet_folder), steps=4, guidance=3.0, guidance_end=0.5, control_start=0.25,
        control_end=0.75, device="cpu", negative="fog",
    )  # fmt: skip


def drawer(settings: GenerateSettings) -> networks.Networks:
    """Load the networks."""
    return networks.Networks(sources.sources(settings), settings, ADE, find.find_controlnet(settings.controlnet))


def subjects(folder: Path, count: int) -> list[Subject]:
    """Return pictures with maps, prompts, seeds and strengths of their own."""
    return [
        Subject(
            DrawRequest(str(number), write_map(folder / f"{number}.png", number, SIZE), "a room " * (number + 1)),
            number, number / 2, SIZE,
        )
        for number in range(count)
    ]  # fmt: skip


def test_a_picture_does_not_depend_on_its_batch(settings: GenerateSettings, tmp_path: Path) -> None:
    """In batches of any size, in any order and the second time as well, pixels equal those of pictures drawn alone."""
    draw, pictures = drawer(settings).draw, subjects(tmp_path, 8)
    alone = [draw([picture])[0].tobytes() for picture in pictures]
    assert len(set(alone)) == 8

    for size in (2, 3, 5, 8):
        drawn = [image for first in range(0, 8, size) for image in draw(pictures[first : first + size])]
        assert [image.tobytes() for image in drawn] == alone, size
    assert [image.tobytes() for image in draw(pictures[::-1])] == alone[::-1]


def test_a_picture_equals_that_of_the_pipeline(settings: GenerateSettings, tmp_path: Path) -> None:
    """From the map to the pixels, diffusers' ControlNet pipeline draws the same with equal settings."""
    from diffusers import StableDiffusionControlNetPipeline

    plain = replace(settings, guidance_end=1.0)
    subject = subjects(tmp_path, 2)[1]
    base = load.load_base(plain.base)
    controlnet = load.load_controlnet(find.find_controlnet(plain.controlnet), base).eval()
    with Image.open(path_of(subject.request.control_map)) as control:
        pixels = torch.from_numpy(np.array(control.convert("RGB"))).permute(2, 0, 1)[None] / 255
    with hub.quiet():
        pipeline = StableDiffusionControlNetPipeline(
            base.vae, *base.text_encoders, *base.tokenizers, base.unet, controlnet, sampler.scheduler(base.prediction),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        pipeline.set_progress_bar_config(disable=True)
        expected = pipeline(
            subject.request.prompt, pixels, width=SIZE[0], height=SIZE[1], num_inference_steps=plain.steps,
            guidance_scale=plain.guidance, negative_prompt="fog", generator=torch.Generator().manual_seed(subject.seed),
            controlnet_conditioning_scale=subject.strength, control_guidance_start=plain.control_start,
            control_guidance_end=plain.control_end,
        ).images[0]  # fmt: skip

    (picture,) = drawer(plain).draw([subject])

    assert np.abs(np.asarray(picture, int) - np.asarray(expected, int)).max() <= 1


class Moody(nn.Module):
    """A layer whose result depends on the batch."""

    calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs, shifted by the size of the batch."""
        self.calls += 1
        return inputs + len(inputs)


class Network(nn.Module):
    """A layer, and a sum over the batch outside of layers."""

    def __init__(self, layer: nn.Module, is_moody: bool) -> None:
        super().__init__()
        self.layer, self.is_moody = layer, is_moody

    def forward(self, inputs: Tensor, control: Tensor | None) -> Tensor:
        """Return the layer's result."""
        result: Tensor = self.layer(inputs) if control is None else self.layer(inputs) + control
        return result + inputs.sum() if self.is_moody else result


@pytest.mark.parametrize("is_moody", [False, True])
@pytest.mark.parametrize("has_control", [False, True])
@pytest.mark.parametrize("rows", [1, 2])
def test_what_depends_on_the_batch_is_computed_apart(is_moody: bool, has_control: bool, rows: int) -> None:
    """Whether the batch matters in a layer or outside, results are those of batches of one, at every call."""
    network = Network(Moody(), is_moody)
    inputs, control = torch.rand(3 * rows, 4), torch.rand(3 * rows, 4) if has_control else None
    pieces = [slice(first, first + rows) for first in range(0, 3 * rows, rows)]
    alone = torch.cat([network(inputs[piece], None if control is None else control[piece]) for piece in pieces])
    batches = ExactBatches([network])

    for _ in range(3):
        assert torch.equal(batches(network, rows, inputs, control), alone)
    assert torch.equal(batches(network, rows, inputs[:rows], control if control is None else control[:rows]),
                       alone[:rows])  # fmt: skip


def test_what_does_not_depend_on_the_batch_is_computed_together() -> None:
    """After the first batch of a shape, which is computed both ways, a layer is called once a batch."""
    network = Network(nn.ReLU(), is_moody=False)
    batches, calls = ExactBatches([network]), []
    network.layer.register_forward_hook(lambda *_: calls.append(1))
    inputs = torch.rand(6, 4)
    batches(network, 2, inputs, None)
    calls.clear()

    batches(network, 2, inputs, None)

    assert len(calls) == 1
