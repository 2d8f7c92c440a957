"""The reward: what a segmenter sees in the predicted picture, compared with the control map.

From a noisy photo at an early timestep, or from what sampling has drawn up to it (see rollout), one step predicts the
clean picture: x0. Decoded and segmented, it should show the classes of the map. The gradient of this cross entropy
flows through segmenter and VAE, both frozen, into the ControlNet (ControlNet++, Li et al. 2024, arXiv 2404.07987).

ControlNet++ draws timesteps uniformly, decodes and segments the whole batch, and then drops four of five photos. Here a
chosen share of the photos is drawn from the early timesteps, and only these are decoded. Importance weights keep the
expectation of the diffusion loss, and the early timesteps remain uniform, as the expectation of the reward demands.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from segkit.models.hub import Source
from segkit.models.scores import IGNORED, Scorer
from trainer.data.decoder import Decoder
from trainer.settings import TrainSettings
from trainer.step.noise import TIMESTEPS
from trainer.step.rollout import Inputs, Rollout
from trainer.step.views import random_views


@dataclass(frozen=True)
class Timesteps:
    """How timesteps are drawn with a reward.

    Attributes:
        until: latest timestep that counts as early.
        share: probability with which a photo gets an early timestep.
    """

    until: int
    share: float

    def draw(self, early: bool, generator: torch.Generator) -> Tensor:
        """Return a timestep, int64: uniform in 0 to until if early, otherwise in until + 1 to 999."""
        first, end = (0, self.until + 1) if early else (self.until + 1, TIMESTEPS)
        return torch.randint(first, end, (), generator=generator)

    def weights(self, early: Tensor) -> Tensor:
        """Return importance weights that restore the expectation over uniform timesteps: (B,) bool to float32."""
        natural = (self.until + 1) / TIMESTEPS
        return torch.where(early, natural / self.share, (1 - natural) / (1 - self.share)).float()


@dataclass(frozen=True)
class Agreement:
    """What the segmenter saw in the predicted pictures of some photos.

    Attributes:
        losses: (K,) cross entropy between map and picture, averaged over each picture's pixels that have a class.
        correct: scalar; pixels in which the segmenter's class is the map's.
        pixels: scalar; pixels that have a class.
    """

    losses: Tensor
    correct: Tensor
    pixels: Tensor

    def sums(self) -> Tensor:
        """Return numbers to add up over batches and processes, (4,) float32: K, sum of losses, correct, pixels."""
        count = torch.tensor(len(self.losses), device=self.losses.device)
        return torch.stack([part.detach().float() for part in (count, self.losses.sum(), self.correct, self.pixels)])


class Reward:
    """A segmenter behind the VAE's decoder.

    Args:
        scorer: the segmenter.
        decoder: the VAE's decoder, which stays on the device.
        settings: of the training.
        rollout: draws what pictures are predicted from; None predicts them from the noisy photos.
    """

    def __init__(
        self, scorer: Scorer, decoder: Decoder, settings: TrainSettings, rollout: Rollout | None = None
    ) -> None:
        self._scorer, self._decoder, self.rollout = scorer, decoder, rollout
        self._checkpointed = settings.gradient_checkpointing
        if self._checkpointed:
            decoder.enable_gradient_checkpointing()
        self.timesteps = Timesteps(settings.reward_until, settings.reward_share)
        self.weight = settings.reward_weight
        self._views = settings.reward_views

    @property
    def source(self) -> Source:
        """The segmenter."""
        return self._scorer.source

    @property
    def strata(self) -> Timesteps | None:
        """How photos get timesteps if their pictures are predicted from them; None: as without a reward."""
        return None if self.rollout else self.timesteps

    def starts(self, inputs: Inputs, generators: Sequence[torch.Generator]) -> Inputs:
        """Return noise to draw pictures from, and the timesteps at which they are predicted.

        Args:
            inputs: of K rewarded photos; prompts and maps remain.
            generators: K random generators.
        """
        shape, device = inputs.latents.shape[1:], inputs.latents.device
        drawn = [(self.timesteps.draw(True, one), torch.randn(shape, generator=one)) for one in generators]
        timesteps, noise = (torch.stack(tensors).to(device) for tensors in zip(*drawn, strict=True))
        return inputs.at(noise, timesteps)

    def bytes(self, with_vae: bool) -> int:
        """Return the size of the segmenter's weights, and of the VAE's if nothing else keeps it in memory."""
        return self._scorer.bytes + (self._decoder.bytes if with_vae else 0)

    def agreement(self, latents: Tensor, labels: Tensor, generators: Sequence[torch.Generator]) -> Agreement:
        """Compare predicted pictures with control maps.

        Args:
            latents: (K, 4, h, w) predicted x0, scaled, with a gradient.
            labels: (K, 8h, 8w) uint8 class indices of the palette; 255 is ignored, as are classes that the segmenter
                does not know.
            generators: K random generators, of the views.
        """
        pixels = self._decoder.pixels(latents)
        if self._views:
            pixels, labels = random_views(pixels, labels, generators)
        if self._checkpointed:
            scores: Tensor = checkpoint(self._scorer.log_probabilities, pixels, use_reentrant=False)
        else:
            scores = self._scorer.log_probabilities(pixels)
        targets = self._scorer.targets(labels)
        entropy = functional.nll_loss(scores, targets, ignore_index=IGNORED, reduction="none")  # (K, 8h, 8w)
        known = targets != IGNORED
        losses = entropy.sum((1, 2)) / known.sum((1, 2)).clamp(min=1)
        correct = (scores.detach().argmax(1) == targets) & known
        return Agreement(losses, correct.sum(), known.sum())


def metrics(sums: Sequence[float]) -> dict[str, float]:
    """Return what the log says about a step's reward; {} if no photo was rewarded.

    Args:
        sums: see loss.Terms.

    Returns:
        "reward_loss", the mean cross entropy of the rewarded photos, before it is weighted; "reward_agreement", the
        share of the pixels in which the segmenter sees the map's class; and "reward_gradient", the share of the
        reward in the gradient by the last prediction: its norm divided by the sum of its norm and the diffusion loss's.
    """
    photos, entropy, correct, pixels, diffusion, rewarded = sums
    if not photos:
        return {}
    norms = math.sqrt(rewarded) + math.sqrt(diffusion)
    return {
        "reward_loss": entropy / photos,
        "reward_agreement": correct / max(1.0, pixels),
        "reward_gradient": math.sqrt(rewarded) / norms if norms else 0.0,
    }
