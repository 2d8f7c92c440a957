"""The memory of a step on a GPU is computed from the networks' structure alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.checkpoints.test_sdxl_files import UNET
from trainer.checkpoints import load
from trainer.run import memory
from trainer.settings import TrainSettings
from trainer.step.loss import ControlledUNet


def test_activations_are_those_of_a_real_step(base: Path) -> None:
    """What is found without values is what operations of a real forward pass keep, in half of the bytes."""
    loaded = load.load_base(str(base))
    model = ControlledUNet(load.load_controlnet("fresh", loaded), loaded.unet)
    kept, weights = dict[int, int](), {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    alive = []

    def save(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    inputs = torch.randn(1, 4, 8, 8), torch.tensor([3.0]), torch.randn(1, 77, 64), torch.rand(1, 3, 64, 64)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        model(*inputs)

    assert memory.activations(model, 64, recomputed=False) == pytest.approx(sum(kept.values()) / 2, rel=0.05)
    assert memory.activations(model, 64, recomputed=True) < memory.activations(model, 64, recomputed=False)


@pytest.mark.parametrize(
    ("changed", "rows"),
    [
        ({"reward_steps": 0, "reward_share": 0.5}, 4),
        ({"reward_steps": 6, "reward_guidance": 1.0}, 4 + 2),
        ({"reward_steps": 6, "reward_gradient_steps": 3}, 4 + 2 * 2 * 3),
        ({"reward_steps": 6, "reward_gradient_steps": 0}, 4 + 2 * 2 * 7),
        ({"reward_steps": 2, "reward_gradient_steps": 9}, 4 + 2 * 2 * 3),
    ],
)
def test_predictions_of_drawn_pictures_need_memory(base: Path, changed: dict[str, Any], rows: int) -> None:
    """Those with a gradient, two for each of them with guidance, beside the four photos of a batch."""
    loaded = load.load_base(str(base))
    model = ControlledUNet(load.load_controlnet("fresh", loaded), loaded.unet)
    options: dict[str, Any] = {"batch_size": 4, "resolution": 64, "reward": "toy", "reward_share": 0.3, **changed}
    settings = TrainSettings(**options)

    need = memory.needs(model, settings, 0)[0].bytes

    activations = need - memory.weights(model, settings) - memory.OVERHEAD
    assert activations == rows * memory.activations(model, 64, recomputed=False)


@pytest.fixture(scope="module")
def full() -> ControlledUNet:
    """SDXL in full size with a ControlNet, without values."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        return ControlledUNet(ControlNetModel.from_unet(unet, load_weights_from_unet=False), unet)


def test_the_weights_of_a_full_sdxl(full: ControlledUNet) -> None:
    """2.57 and 1.25 billion weights: 5.1 GB frozen, and 18 bytes for each that AdamW trains in bf16."""
    trained, frozen = 1_251_014_160, 2_567_463_684

    assert sum(weight.numel() for weight in full.unet.parameters()) == frozen
    assert sum(weight.numel() for weight in full.controlnet.parameters()) == trained
    for options, each in (({}, 18), ({"optimizer": "adamw8bit"}, 12), ({"ema": 0.9}, 22)):
        changed: dict[str, Any] = options
        assert memory.weights(full, TrainSettings(**changed)) == 2 * frozen + each * trained


def test_the_first_saving_that_fits_is_named() -> None:
    """{} where a training fits as it is set, None where nothing helps."""
    needs = [memory.Need({}, 50 * 10**9), memory.Need({"batch_size": 1}, 20 * 10**9)]

    assert memory.fitting(needs) == {12: None, 16: None, 24: {"batch_size": 1}, 48: {"batch_size": 1}, 80: {}}
