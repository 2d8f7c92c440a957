"""The diffusion loss: error of the UNet, conditioned by the ControlNet, in predicting the noise (or the velocity)."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ControlNetModel, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from segkit.errors import ModelError
from trainer.checkpoints import configs, families
from trainer.checkpoints.load import Base
from trainer.data.batches import Batch
from trainer.data.latents import Encoder
from trainer.data.paint import PalettePainter
from trainer.step.noise import TIMESTEPS, NoiseSchedule
from trainer.step.reward import Reward, Timesteps
from trainer.step.rollout import Inputs

UNLOCKED = ("up_blocks", "conv_norm_out", "conv_out")
"""Parts of the UNet that --sd-unlocked trains (sd_locked = False in the original ControlNet code, cldm)."""


class ControlledUNet(nn.Module):
    """A UNet whose down and middle blocks receive the ControlNet's residuals.

    Args:
        controlnet: trained, but for the weights of a union ControlNet that are frozen.
        unet: frozen, except for UNLOCKED if `unlocked`.
        only_mid: use the middle block's residual alone; the other zero convolutions are frozen.
        unlocked: train the UNet's up blocks and output as well.
    """

    def __init__(
        self, controlnet: ControlNetModel, unet: UNet2DConditionModel, only_mid: bool = False, unlocked: bool = False
    ) -> None:
        super().__init__()
        self.controlnet, self.unet, self.only_mid = controlnet, unet, only_mid
        controlnet.train()
        unet.requires_grad_(False)
        if only_mid:
            controlnet.controlnet_down_blocks.requires_grad_(False)
        for name in UNLOCKED if unlocked else ():
            getattr(unet, name).requires_grad_(True)

    def forward(
        self, latents: Tensor, timesteps: Tensor, encoder_hidden_states: Tensor, control: Tensor, **more: Any
    ) -> Tensor:  # fmt: skip
        """Return the UNet's prediction, (B, 4, h, w) in the UNet's dtype.

        Args:
            latents: (B, 4, h, w), noisy and scaled.
            timesteps: (B,) int64, 0 to 999.
            encoder_hidden_states: (B, 77, D) from the text encoders.
            control: (B, 3, 8h, 8w) painted control map, 0 to 1. 8 is the VAE's downsampling factor.
            more: what else conditions both networks: see families.Conditioning.inputs.
        """
        down, mid = self.controlnet(
            latents, timesteps, encoder_hidden_states, controlnet_cond=control, return_dict=False, **more
        )
        if self.only_mid:
            down = [torch.zeros_like(residual) for residual in down]
        dtype = self.unet.dtype
        # A frozen 16-bit UNet needs no autocast, which would cast to fp32 and back around each normalisation.
        with nullcontext() if dtype == torch.float32 else torch.autocast(latents.device.type, enabled=False):
            prediction: Tensor = self.unet(
                latents.to(dtype),
                timesteps,
                encoder_hidden_states.to(dtype),
                down_block_additional_residuals=[residual.to(dtype) for residual in down],
                mid_block_additional_residual=mid.to(dtype),
                return_dict=False,
                **more,
            )[0]
        return prediction


@dataclass(frozen=True)
class Terms:
    """The terms of a batch's loss.

    Attributes:
        diffusion: fp32 scalar; mean squared error of the predicted noise or velocity, weighted.
        off_palette: int64 scalar; off-palette control pixels.
        reward: fp32 scalar; what the reward adds to the loss; None for a batch without rewarded photos.
        sums: (6,) fp32, for the log: rewarded photos; sum of their cross entropies; pixels that agree; pixels with a
            class; and, once the backward pass is done, the sums of squares of the diffusion loss's and the reward's
            gradient by the prediction.
    """

    diffusion: Tensor
    off_palette: Tensor
    reward: Tensor | None
    sums: Tensor

    @property
    def loss(self) -> Tensor:
        """What a step minimises."""
        return self.diffusion if self.reward is None else self.diffusion + self.reward


DIFFUSION_GRADIENT, REWARD_GRADIENT = 4, 5
"""Places of the sums of squares in Terms.sums."""


class DiffusionLoss:
    """Mean squared error of the predicted noise or velocity, on batches with or without cached latents.

    Args:
        base: supplies the prediction type, the latents' scaling factor and what the networks are conditioned on.
        encoder: encodes photos and prompts of batches without cached latents; None if every batch has them.
        paint: paints class indices with the palette.
        device: where the loss is computed.
        min_snr: gamma of Min-SNR weighting (Hang et al. 2023, arXiv 2303.09556); 0 weights all timesteps equally.
        rewarded: joins the loss of batches that have rewarded photos; None without.
    """

    def __init__(
        self, base: Base, encoder: Encoder | None, paint: PalettePainter, device: torch.device, min_snr: float = 0.0,
        rewarded: Reward | None = None,
    ) -> None:  # fmt: skip
        self._reward = rewarded
        self._encoder, self._paint, self._device, self._min_snr = encoder, paint, device, min_snr
        self._scaling_factor: float = base.vae.config.scaling_factor
        self._conditioning = base.conditioning
        self._noise_scheduler = DDPMScheduler(**configs.SCHEDULER, prediction_type=base.prediction)
        self._schedule = NoiseSchedule(
            self._noise_scheduler.alphas_cumprod.to(device), base.prediction == "v_prediction"
        )
        # Not diffusers' compute_snr: it squares a ratio of square roots, which rounds differently, and copies its
        # table to the GPU at each step.
        self._snr = self._schedule.alphas_cumprod / (1 - self._schedule.alphas_cumprod)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a batch's loss, an fp32 scalar, and the number of off-palette control pixels, an int64 scalar.

        See `terms` for the arguments.
        """
        terms = self.terms(model, batch)
        return terms.loss, terms.off_palette

    def terms(self, model: nn.Module, batch: Batch) -> Terms:
        """Return the terms of a batch's loss.

        Args:
            model: a ControlledUNet, possibly wrapped by accelerate.
            batch: B photos with their control maps and prompts.
        """
        latents, timesteps, noise = self._sample(batch)
        noisy_latents = self._noise_scheduler.add_noise(latents, noise, timesteps)
        target = self._noise_scheduler.get_velocity(latents, noise, timesteps) if self._schedule.is_velocity else noise
        labels = self._to_device(batch.controls)
        control = self._paint(labels)
        time_ids = self._to_device(batch.time_ids)
        inputs = Inputs(noisy_latents, timesteps, self._encode_prompts(batch), control, time_ids, self._conditioning)
        sums = torch.zeros(6, device=self._device)
        term = None
        if self._reward and batch.rewarded is not None and bool(batch.rewarded.any()):
            prediction, term = self._predict_rewarded(model, inputs, labels, batch, sums)
        else:
            prediction = inputs.predict(model)
        watched = _watched(prediction, sums, DIFFUSION_GRADIENT) if self._reward else prediction
        diffusion = self._weighted_error(watched, target, timesteps, batch)
        return Terms(diffusion, self._paint.count_off_palette(control), term, sums)

    def _predict_rewarded(
        self, model: nn.Module, inputs: Inputs, labels: Tensor, batch: Batch, sums: Tensor
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return the prediction for a batch, and what the reward of its rewarded photos adds to the loss.

        One call of the model serves both, since distributed wrappers expect one for each backward pass.
        """
        rewarder, chosen = self._require_reward(), batch.require_rewarded().nonzero()[:, 0]
        places, generators = chosen.to(self._device), [batch.generators[place] for place in chosen]
        state = inputs.rows(places)
        if rollout := rewarder.rollout:
            state = rollout.states(model, rewarder.starts(state, generators), self._schedule)
            both = inputs.followed_by(rollout.guidable(state)).predict(model)
            prediction = both[: len(labels)]
            watched = rollout.guided(_watched(both[len(labels) :], sums, REWARD_GRADIENT))
        else:
            prediction = inputs.predict(model)
            watched = _watched(prediction, sums, REWARD_GRADIENT)[places]
        clean = self._schedule.predicted_latents(state.latents, watched, state.timesteps)
        agreement = rewarder.agreement(clean, labels[places], generators)
        sums[:DIFFUSION_GRADIENT] = agreement.sums()
        # By the expected number of rewarded photos, not the actual one: the mean over processes is then the value
        # of one process with all their photos, and its expectation is that over the early timesteps.
        expected = rewarder.timesteps.share * len(labels)
        return prediction, rewarder.weight * agreement.losses.sum() / expected

    def _weighted_error(self, prediction: Tensor, target: Tensor, timesteps: Tensor, batch: Batch) -> Tensor:
        """Return the mean squared error; Min-SNR and importance weights apply by photo."""
        loss = functional.mse_loss(prediction, target.float(), reduction="none").mean((1, 2, 3))  # (B,)
        loss = loss * self._min_snr_weights(timesteps)
        if strata := self._strata(batch):
            loss = loss * strata.weights(self._to_device(batch.require_rewarded()))
        return loss.mean()

    def require_exact(self, off: Tensor) -> None:
        """Raise MapError if off-palette pixels were counted. Waits for the device."""
        self._paint.require_exact(off)

    def _min_snr_weights(self, timesteps: Tensor) -> Tensor | float:
        """Return the weight of each photo's loss, (B,): min(SNR, gamma) / SNR, or / (SNR + 1) for v-prediction."""
        if not self._min_snr:
            return 1.0
        snr = self._snr[timesteps]
        weights: Tensor = snr.clamp(max=self._min_snr) / (snr + 1 if self._schedule.is_velocity else snr)
        return weights

    @torch.no_grad()
    def _sample(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return scaled latents (B, 4, h, w), timesteps (B,) and noise (B, 4, h, w).

        Random numbers come from each photo's own CPU generator, in this order, so that they depend neither on the
        device nor on how photos are grouped into batches and processes.
        """
        moments = self._encode_photos(batch)
        mean, std = moments[:, 0], (0.5 * moments[:, 1].clamp(-30, 20)).exp()  # clamped as in diffusers' VAE
        shape = mean.shape[1:]
        samples = [
            (
                torch.randn(shape, generator=generator),
                self._draw_timestep(batch, place),
                torch.randn(shape, generator=generator),
            )
            for place, generator in enumerate(batch.generators)
        ]
        posterior_noise, timesteps, noise = (
            self._to_device(torch.stack(tensors)) for tensors in zip(*samples, strict=True)
        )
        return (mean + std * posterior_noise) * self._scaling_factor, timesteps, noise

    def _draw_timestep(self, batch: Batch, place: int) -> Tensor:
        generator = batch.generators[place]
        if strata := self._strata(batch):
            return strata.draw(bool(batch.require_rewarded()[place]), generator)
        return torch.randint(TIMESTEPS, (), generator=generator)

    def _strata(self, batch: Batch) -> Timesteps | None:
        """Return how timesteps are drawn, if not uniformly."""
        return self._reward.strata if self._reward and batch.rewarded is not None else None

    def _encode_photos(self, batch: Batch) -> Tensor:
        """Return mean and log-variance of the latents, (B, 2, 4, h, w), in fp32."""
        if batch.moments is not None and batch.photos is None:
            return self._to_device(batch.moments).float()
        moments = torch.stack([self._require_encoder().photo(photo) for photo in batch.require_photos()]).float()
        if batch.moments is None or batch.cached is None:
            return moments
        places = torch.cat([batch.cached.nonzero(), (~batch.cached).nonzero()]).flatten()  # in the batch, of both parts
        return torch.cat([self._to_device(batch.moments).float(), moments])[self._to_device(places.argsort())]

    def _encode_prompts(self, batch: Batch) -> Tensor:
        """Return the embeddings of the prompts."""
        if batch.prompts is not None:
            return self._to_device(batch.prompts)
        return torch.stack([self._require_encoder().prompt(text) for text in batch.texts])

    def _require_reward(self) -> Reward:
        if self._reward is None:
            raise ValueError("a batch with rewarded photos needs a reward")
        return self._reward

    def _require_encoder(self) -> Encoder:
        if self._encoder is None:
            raise ValueError("a batch without cached latents needs an encoder")
        return self._encoder

    def _to_device(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the device without waiting for the copy: pinned memory makes it asynchronous."""
        source = tensor.pin_memory() if self._device.type == "cuda" else tensor
        return source.to(self._device, non_blocking=True)


def _watched(tensor: Tensor, sums: Tensor, place: int) -> Tensor:
    """Return a view whose gradient, once it is computed, adds its sum of squares to sums[place]."""
    view = tensor.view_as(tensor)

    def add(gradient: Tensor) -> None:
        sums[place] += gradient.detach().float().square().sum()

    if view.requires_grad:  # not during validation
        view.register_hook(add)  # type: ignore[no-untyped-call]
    return view


@torch.no_grad()
def require_unchanged(base: Base, controlnet: ControlNetModel) -> None:
    """Check that a fresh ControlNet does not change the base's prediction: its zero convolutions are zero.

    Raises:
        ModelError: the predictions with and without the ControlNet differ.
    """
    generator = torch.Generator().manual_seed(0)
    side = 8 * configs.vae_scale_factor(base.vae.config)
    latents = torch.randn(1, base.unet.config.in_channels, 8, 8, generator=generator)
    timesteps = torch.tensor([500])
    prompts = torch.randn(1, *base.conditioning.shape(77), generator=generator)
    control = torch.rand(1, 3, side, side, generator=generator)
    encoder_hidden_states, more = base.conditioning.inputs(prompts, torch.tensor([families.whole(side, side)]).float())
    expected = base.unet(latents, timesteps, encoder_hidden_states, return_dict=False, **more)[0]
    down, mid = controlnet(
        latents, timesteps, encoder_hidden_states, controlnet_cond=control, return_dict=False, **more
    )
    prediction = base.unet(
        latents, timesteps, encoder_hidden_states, down_block_additional_residuals=down,
        mid_block_additional_residual=mid, return_dict=False, **more,
    )[0]  # fmt: skip
    if not torch.equal(expected, prediction):
        raise ModelError("The fresh ControlNet changes the base's prediction before any training. Please report this.")
