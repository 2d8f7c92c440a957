"""What is minimised: the steered base's error in predicting the noise (or the velocity) of a diffused photo."""

from contextlib import nullcontext

import torch
from diffusers import ControlNetModel, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from segkit.errors import ModelError
from trainer.checkpoints import configs
from trainer.checkpoints.load import Base
from trainer.data.batches import Batch
from trainer.data.latents import Encoder
from trainer.data.paint import PalettePainter

UNLOCKED = ("up_blocks", "conv_norm_out", "conv_out")
"""Parts of the UNet that --sd-unlocked trains (cldm's sd_locked = False)."""


class ControlledUNet(nn.Module):
    """A base's UNet, steered by a ControlNet.

    Args:
        controlnet: its weights are trained.
        unet: frozen, but for UNLOCKED where that is asked for.
        only_mid: whether the middle block alone is steered; the zero convolutions of the others are frozen.
        unlocked: whether the UNet's up blocks and output are trained too.
    """

    def __init__(
        self, controlnet: ControlNetModel, unet: UNet2DConditionModel, only_mid: bool = False, unlocked: bool = False
    ) -> None:
        super().__init__()
        self.controlnet, self.unet, self.only_mid = controlnet, unet, only_mid
        controlnet.requires_grad_(True).train()
        unet.requires_grad_(False)
        if only_mid:
            controlnet.controlnet_down_blocks.requires_grad_(False)
        for part in UNLOCKED if unlocked else ():
            getattr(unet, part).requires_grad_(True)

    def forward(self, latents: Tensor, times: Tensor, words: Tensor, control: Tensor) -> Tensor:
        """Return the prediction, (B, 4, h, w).

        Args:
            latents: (B, 4, h, w), with noise.
            times: (B,) int64, 0 to 999.
            words: (B, 77, width) of the text encoder.
            control: (B, 3, 8h, 8w), 0 to 1; 8 is how often the VAE halves, as a factor.
        """
        down, middle = self.controlnet(latents, times, words, controlnet_cond=control, return_dict=False)
        if self.only_mid:
            down = [torch.zeros_like(each) for each in down]
        dtype = self.unet.dtype
        # A frozen UNet of 16 bits needs no autocast, which would copy to fp32 and back around every normalisation.
        with nullcontext() if dtype == torch.float32 else torch.autocast(latents.device.type, enabled=False):
            prediction: Tensor = self.unet(
                latents.to(dtype),
                times,
                words.to(dtype),
                down_block_additional_residuals=[each.to(dtype) for each in down],
                mid_block_additional_residual=middle.to(dtype),
                return_dict=False,
            )[0]
        return prediction


class DiffusionLoss:
    """The loss of batches.

    Args:
        base: what its UNet predicts and how its latents are scaled is taken from it.
        encoder: what photos and prompts are given to that come without a cache; None where all come with one.
        paint: paints the maps.
        device: where to compute.
        min_snr: the gamma of Min-SNR weighting (Hang et al. 2023, arXiv 2303.09556); 0 weighs all times alike.
    """

    def __init__(
        self, base: Base, encoder: Encoder | None, paint: PalettePainter, device: torch.device, min_snr: float = 0.0
    ) -> None:
        self._encoder, self._paint, self._device, self._min_snr = encoder, paint, device, min_snr
        self._scale: float = base.vae.config.scaling_factor
        self._schedule = DDPMScheduler(**configs.SCHEDULER, prediction_type=base.prediction)
        self._velocity = base.prediction == "v_prediction"
        signal = self._schedule.alphas_cumprod.to(device)
        self._ratio = signal / (1 - signal)

    def loss(self, steered: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of a batch, in fp32; and the number of control pixels off the palette."""
        latents, times, noise = self._drawn(batch)
        noisy = self._schedule.add_noise(latents, noise, times)
        target = self._schedule.get_velocity(latents, noise, times) if self._velocity else noise
        control = self._paint(self._sent(batch.controls))
        prediction = steered(noisy, times, self._words(batch), control)
        loss = functional.mse_loss(prediction.float(), target.float(), reduction="none").mean((1, 2, 3))
        return (loss * self._weights(times)).mean(), self._paint.count_off_palette(control)

    def require_exact(self, off: Tensor) -> None:
        """See Paint.require_exact."""
        self._paint.require_exact(off)

    def _weights(self, times: Tensor) -> Tensor | float:
        """Return the weight of each photo's loss, (B,)."""
        if not self._min_snr:
            return 1.0
        ratio = self._ratio[times]
        weights: Tensor = ratio.clamp(max=self._min_snr) / (ratio + 1 if self._velocity else ratio)
        return weights

    @torch.no_grad()
    def _drawn(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents, times and noise; what is random comes from each photo's own generator, on the CPU."""
        moments = self._moments(batch)
        mean, spread = moments[:, 0], (0.5 * moments[:, 1].clamp(-30, 20)).exp()
        shape = mean.shape[1:]
        drawn = [
            (
                torch.randn(shape, generator=draw),
                torch.randint(1000, (), generator=draw),
                torch.randn(shape, generator=draw),
            )
            for draw in batch.generators
        ]
        sample, times, noise = (self._sent(torch.stack(each)) for each in zip(*drawn, strict=True))
        return (mean + spread * sample) * self._scale, times, noise

    def _moments(self, batch: Batch) -> Tensor:
        """Return mean and log-variance of a batch's latents, (B, 2, 4, h, w), in fp32."""
        if batch.moments is not None:
            return self._sent(batch.moments).float()
        return torch.stack([self._require_encoder().photo(each) for each in batch.require_photos()]).float()

    def _words(self, batch: Batch) -> Tensor:
        """Return what the text encoder makes of a batch's prompts, (B, 77, width)."""
        if batch.encoder_hidden_states is not None:
            return self._sent(batch.encoder_hidden_states)
        return torch.stack([self._require_encoder().prompt(text) for text in batch.texts])

    def _require_encoder(self) -> Encoder:
        if self._encoder is None:
            raise ValueError("a batch without a cache needs an encoder")
        return self._encoder

    def _sent(self, tensor: Tensor) -> Tensor:
        """Return a tensor on the device; the host does not wait for it to be there."""
        ready = tensor.pin_memory() if self._device.type == "cuda" else tensor
        return ready.to(self._device, non_blocking=True)


@torch.no_grad()
def require_unchanged(base: Base, controlnet: ControlNetModel) -> None:
    """Assert that a fresh ControlNet changes nothing: its zero convolutions are zero.

    Raises:
        ModelError: the steered base predicts other numbers than the base alone.
    """
    draw = torch.Generator().manual_seed(0)
    width = base.unet.config.cross_attention_dim
    side = 8 * configs.vae_scale_factor(base.vae.config)
    latents, times = torch.randn(1, base.unet.config.in_channels, 8, 8, generator=draw), torch.tensor([500])
    words, control = torch.randn(1, 77, width, generator=draw), torch.rand(1, 3, side, side, generator=draw)
    alone = base.unet(latents, times, words, return_dict=False)[0]
    down, middle = controlnet(latents, times, words, controlnet_cond=control, return_dict=False)
    steered = base.unet(
        latents, times, words, down_block_additional_residuals=down, mid_block_additional_residual=middle,
        return_dict=False,
    )[0]  # fmt: skip
    if not torch.equal(alone, steered):
        raise ModelError("The fresh ControlNet changes the base before a step was taken. Please report this.")
