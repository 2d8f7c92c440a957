"""Rollouts: noisy latents as sampling meets them, drawn from noise by the ControlNet in training.

A noisy photo shows, at all but the last timesteps, what the clean one contains: a prediction from it says little about
how the map is obeyed. Sampling knows the map alone, and goes on from what the network predicted before, mistakes
included. As in ReFL (Xu et al. 2023, arXiv 2304.05977), a picture is predicted on the way of sampling. If only this
last prediction has a gradient, earlier ones are not told what became of them; as in DRaFT (Clark et al. 2024, arXiv
2309.17400), the gradient may flow through several predictions, or through all of them.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from trainer.checkpoints.families import Conditioning
from trainer.step.noise import TIMESTEPS, NoiseSchedule

LAST = TIMESTEPS - 1
"""The timestep at which sampling starts."""


@dataclass(frozen=True)
class Inputs:
    """What a ControlledUNet is called with, a row for each picture.

    Attributes:
        latents: (N, 4, h, w) float32, noisy and scaled.
        timesteps: (N,) int64.
        prompts: N embeddings of prompts: see families.Conditioning.
        control: (N, 3, H, W) painted control maps.
        time_ids: (N, 6) float32, size and crop.
        conditioning: what prompts and time_ids become as arguments.
    """

    latents: Tensor
    timesteps: Tensor
    prompts: Tensor
    control: Tensor
    time_ids: Tensor
    conditioning: Conditioning

    def predict(self, model: Callable[..., Tensor]) -> Tensor:
        """Return the model's prediction, (N, 4, h, w) float32."""
        encoder_hidden_states, more = self.conditioning.inputs(self.prompts, self.time_ids)
        return model(self.latents, self.timesteps, encoder_hidden_states, self.control, **more).float()

    def rows(self, places: Tensor) -> "Inputs":
        """Return some rows."""
        return self._mapped(lambda name: getattr(self, name)[places])

    def at(self, latents: Tensor, timesteps: Tensor) -> "Inputs":
        """Return the same prompts and maps with other latents and timesteps."""
        return replace(self, latents=latents, timesteps=timesteps)

    def followed_by(self, other: "Inputs") -> "Inputs":
        """Return the rows of both."""
        return self._mapped(lambda name: torch.cat([getattr(self, name), getattr(other, name)]))

    def _mapped(self, tensor: Callable[[str], Any]) -> "Inputs":
        return replace(self, **{name: tensor(name) for name in _TENSORS})


_TENSORS = tuple(field.name for field in fields(Inputs) if field.type is Tensor)


class Rollout:
    """DDIM with classifier-free guidance, from noise down to a timestep of each picture.

    Args:
        steps: that sampling all the way would take.
        guidance: scale of the guidance; at most 1 means none.
        unconditional: embedding of the empty prompt.
        gradient_steps: last predictions that have a gradient, the one from a state included; 0 for all.
    """

    def __init__(self, steps: int, guidance: float, unconditional: Tensor, gradient_steps: int = 1) -> None:
        self._stride, self._guidance, self._unconditional = TIMESTEPS / steps, guidance, unconditional
        self._gradient_steps = gradient_steps

    def states(self, model: nn.Module, inputs: Inputs, schedule: NoiseSchedule) -> Inputs:
        """Return the noisy latents that sampling meets at the timesteps of the inputs.

        Args:
            model: a ControlledUNet, possibly wrapped by accelerate.
            inputs: their latents are the noise that sampling starts from.
            schedule: of the noise.
        """
        # Processes differ in how many steps they need, so a wrapper that synchronises them must not see the calls.
        network = extract_model_from_parallel(model)
        latents, device = inputs.latents, inputs.latents.device
        final = inputs.timesteps.cpu()  # waits for the device, once instead of at each step
        current = torch.full_like(final, LAST)
        path = self._timesteps(final)
        for number, following in enumerate(path):
            predictions_left = len(path) - number + 1
            is_watched = not self._gradient_steps or predictions_left <= self._gradient_steps
            places = (following < current).nonzero()[:, 0]
            before, after, rows = (tensor.to(device) for tensor in (current[places], following[places], places))
            with nullcontext() if is_watched else torch.no_grad():
                part = inputs.rows(rows).at(latents[rows], before)
                prediction = self.guided(self.guidable(part).predict(network))
                latents = latents.index_copy(0, rows, schedule.ddim_step(part.latents, prediction, before, after))
            current = following
        return inputs.at(latents, inputs.timesteps)

    def _timesteps(self, final: Tensor) -> Sequence[Tensor]:
        """Return where the steps lead: whole strides above the final timesteps, then these; LAST is where it starts."""
        count = int(((LAST - final) / self._stride).ceil().max())
        return [(final + left * self._stride).long().clamp(max=LAST) for left in reversed(range(count))]

    def guidable(self, inputs: Inputs) -> Inputs:
        """Return the rows whose predictions `guided` combines: unconditional ones, then the inputs."""
        if self._guidance <= 1:
            return inputs
        empty = self._unconditional.to(inputs.prompts).expand_as(inputs.prompts)
        return replace(inputs, prompts=empty).followed_by(inputs)

    def guided(self, prediction: Tensor) -> Tensor:
        """Return the guided prediction of each picture, (K, 4, h, w), from those of the rows of `guidable`."""
        if self._guidance <= 1:
            return prediction
        unconditional, conditional = prediction.chunk(2)
        return unconditional + self._guidance * (conditional - unconditional)
