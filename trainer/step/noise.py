"""The noise schedule that a network was trained with, and what its predictions say about the clean latents."""

from dataclasses import dataclass

from torch import Tensor

TIMESTEPS = 1000
"""Timesteps of the schedule; the last is all but pure noise."""


@dataclass(frozen=True)
class NoiseSchedule:
    """Stable Diffusion's noise schedule, on the device of the loss.

    Attributes:
        alphas_cumprod: (1000,) float32, the share of the signal in the variance of noisy latents, by timestep.
        is_velocity: the network predicts the velocity (Salimans and Ho 2022, arXiv 2202.00512), not the noise.
    """

    alphas_cumprod: Tensor
    is_velocity: bool

    def predicted_latents(self, noisy_latents: Tensor, prediction: Tensor, timesteps: Tensor) -> Tensor:
        """Return the clean latents x0 that a prediction stands for.

        Args:
            noisy_latents: (K, 4, h, w) float32.
            prediction: of the UNet, (K, 4, h, w) float32.
            timesteps: (K,) int64.
        """
        signal, noise = self._scales(timesteps)
        if self.is_velocity:
            return signal * noisy_latents - noise * prediction
        return (noisy_latents - noise * prediction) / signal

    def ddim_step(self, noisy_latents: Tensor, prediction: Tensor, timesteps: Tensor, following: Tensor) -> Tensor:
        """Return the latents at an earlier timestep, by DDIM without added noise (Song et al. 2020, arXiv 2010.02502).

        Args:
            noisy_latents: (K, 4, h, w) float32, at `timesteps`.
            prediction: of the UNet, (K, 4, h, w) float32.
            timesteps: (K,) int64.
            following: (K,) int64, the timesteps to go to.
        """
        clean = self.predicted_latents(noisy_latents, prediction, timesteps)
        signal, noise = self._scales(timesteps)
        next_signal, next_noise = self._scales(following)
        return next_signal * clean + next_noise * (noisy_latents - signal * clean) / noise

    def _scales(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of signal and noise in noisy latents, (K, 1, 1, 1) each."""
        alphas = self.alphas_cumprod[timesteps][:, None, None, None]
        return alphas.sqrt(), (1 - alphas).sqrt()
