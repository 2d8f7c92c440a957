"""Pictures from latents, by the frozen VAE."""

from typing import TYPE_CHECKING

from PIL import Image

from segkit.models.device import weight_bytes

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL
    from torch import Tensor


class Decoder:
    """The VAE's decoder.

    Args:
        vae: the VAE; it is moved.
        device: device to compute on.
        home: device that the VAE stays on between uses.
    """

    def __init__(self, vae: "AutoencoderKL", device: "torch.device", home: "torch.device | str") -> None:
        self._vae, self.device, self._home = vae.to(home), device, home
        self._dtype = vae.dtype

    @property
    def bytes(self) -> int:
        """Size of the VAE's weights."""
        return weight_bytes(self._vae)

    def enable_gradient_checkpointing(self) -> None:
        """Recompute the decoder's activations in the backward pass of `pixels`."""
        self._vae.enable_gradient_checkpointing()

    def pixels(self, latents: "Tensor") -> "Tensor":
        """Decode a batch of latents on the device, with gradients; the VAE must stay there.

        Args:
            latents: (B, 4, h, w), multiplied by the VAE's scaling factor.

        Returns:
            (B, 3, 8h, 8w) float32, 0 to 1.
        """
        import torch

        scaled = (latents / self._vae.config.scaling_factor).to(self._dtype)
        with torch.autocast(latents.device.type, enabled=False):  # the weights have the dtype of the arithmetic
            decoded: Tensor = self._vae.decode(scaled, return_dict=False)[0]
        return (decoded.float() / 2 + 0.5).clamp(0, 1)

    def picture(self, latents: "Tensor") -> Image.Image:
        """Decode latents; if the device runs out of memory, on the CPU.

        Args:
            latents: (4, h, w), multiplied by the VAE's scaling factor, as the UNet uses them.

        Returns:
            An RGB picture of 8h x 8w pixels.
        """
        import torch

        try:
            pixels = self._decoded(latents, self.device)
        except torch.OutOfMemoryError:
            pixels = self._decoded(latents, torch.device("cpu"))
        finally:
            self._vae.to(self._home, self._dtype)
        levels = ((pixels.float().cpu() + 1) * 127.5).round().clamp(0, 255).byte()
        return Image.fromarray(levels.permute(1, 2, 0).numpy())

    def _decoded(self, latents: "Tensor", device: "torch.device") -> "Tensor":
        import torch

        dtype = torch.float32 if device.type == "cpu" else self._dtype  # few CPUs support bf16, none fp16
        vae = self._vae.to(device, dtype)
        with torch.no_grad():
            unscaled = latents[None].to(device, dtype) / vae.config.scaling_factor
            pixels: Tensor = vae.decode(unscaled, return_dict=False)[0][0]
        return pixels
