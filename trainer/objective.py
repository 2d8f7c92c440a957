"""What is minimised: the steered base's error in predicting the noise (or the velocity) of a diffused photo."""

from collections.abc import Sequence

import torch
from diffusers import ControlNetModel, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from segkit.errors import ModelError
from segkit.models import hub
from trainer import configs
from trainer.batches import Batch
from trainer.networks import Base

UNLOCKED = ("up_blocks", "conv_norm_out", "conv_out")
"""Parts of the UNet that --sd-unlocked trains (cldm's sd_locked = False)."""


class Steered(nn.Module):
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
            control: (B, 3, 8h, 8w), 0 to 1.
        """
        down, middle = self.controlnet(latents, times, words, controlnet_cond=control, return_dict=False)
        if self.only_mid:
            down = [torch.zeros_like(each) for each in down]
        prediction: Tensor = self.unet(
            latents,
            times,
            words,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return prediction


class Objective:
    """The loss of batches.

    Args:
        base: its VAE and text encoder are moved to the device, in dtype.
        device: where to compute.
        dtype: of the frozen networks.
    """

    def __init__(self, base: Base, device: torch.device, dtype: torch.dtype) -> None:
        self._vae, self._text_encoder = base.vae.to(device, dtype), base.text_encoder.to(device, dtype)
        self._tokenizer, self._device, self._dtype = base.tokenizer, device, dtype
        self._schedule = DDPMScheduler(**configs.SCHEDULER, prediction_type=base.prediction)
        self._velocity = base.prediction == "v_prediction"

    def loss(self, steered: nn.Module, batch: Batch) -> Tensor:
        """Return the mean squared error of a batch, in fp32."""
        latents, times, noise = self._drawn(batch)
        noisy = self._schedule.add_noise(latents, noise, times)
        target = self._schedule.get_velocity(latents, noise, times) if self._velocity else noise
        control = batch.controls.to(self._device)
        prediction = steered(noisy, times, self.words(batch.texts), control)
        return functional.mse_loss(prediction.float(), target.float())

    @torch.no_grad()
    def _drawn(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents, times and noise; what is random comes from each photo's own generator, on the CPU."""
        posterior = self._vae.encode(batch.photos.to(self._device, self._dtype)).latent_dist
        mean, spread = posterior.mean.float(), posterior.std.float()
        shape = mean.shape[1:]
        drawn = [
            (
                torch.randn(shape, generator=draw),
                torch.randint(1000, (), generator=draw),
                torch.randn(shape, generator=draw),
            )
            for draw in batch.draws
        ]
        sample, times, noise = (torch.stack(each).to(self._device) for each in zip(*drawn, strict=True))
        return (mean + spread * sample) * self._vae.config.scaling_factor, times, noise

    def cut(self, texts: Sequence[str]) -> int:
        """Return how many prompts are longer than the text encoder reads."""
        most = self._text_encoder.config.max_position_embeddings
        with hub.quiet():
            found = self._tokenizer(list(texts)).input_ids
        return sum(len(tokens) > most for tokens in found)

    @torch.no_grad()
    def words(self, texts: list[str]) -> Tensor:
        """Return what the text encoder makes of prompts, (B, 77, width); longer ones are cut."""
        tokens = self._tokenizer(
            texts, padding="max_length", truncation=True, max_length=self._text_encoder.config.max_position_embeddings,
            return_tensors="pt",
        )  # fmt: skip
        words: Tensor = self._text_encoder(tokens.input_ids.to(self._device))[0]
        return words


@torch.no_grad()
def require_unchanged(base: Base, controlnet: ControlNetModel) -> None:
    """Assert that a fresh ControlNet changes nothing: its zero convolutions are zero.

    Raises:
        ModelError: the steered base predicts other numbers than the base alone.
    """
    draw = torch.Generator().manual_seed(0)
    width = base.unet.config.cross_attention_dim
    latents, times = torch.randn(1, base.unet.config.in_channels, 8, 8, generator=draw), torch.tensor([500])
    words, control = torch.randn(1, 77, width, generator=draw), torch.rand(1, 3, 64, 64, generator=draw)
    alone = base.unet(latents, times, words, return_dict=False)[0]
    down, middle = controlnet(latents, times, words, controlnet_cond=control, return_dict=False)
    steered = base.unet(
        latents, times, words, down_block_additional_residuals=down, mid_block_additional_residual=middle,
        return_dict=False,
    )[0]  # fmt: skip
    if not torch.equal(alone, steered):
        raise ModelError("The fresh ControlNet changes the base before a step was taken. Please report this.")
