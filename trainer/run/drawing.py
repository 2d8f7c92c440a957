"""Pictures drawn with the networks in training: the same noise each time, one picture at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.checkpoints import families
from trainer.checkpoints.families import Conditioning
from trainer.data.decoder import Decoder
from trainer.data.paint import PalettePainter
from trainer.sample import sampler
from trainer.settings import SampleSettings


@dataclass(frozen=True)
class Drawer:
    """What drawing needs besides the networks in training.

    Attributes:
        decoder: turns latents into pictures.
        encode_prompt: returns a prompt's embedding.
        conditioning: what embeddings become as inputs of the networks.
        paint: paints class indices with the palette.
        prediction: "epsilon" or "v_prediction".
        factor: the VAE's downsampling factor.
        channels: of the latents.
        sampling: steps and guidance.
    """

    decoder: Decoder
    encode_prompt: Callable[[str], Tensor]
    conditioning: Conditioning
    paint: PalettePainter
    prediction: str
    factor: int
    channels: int
    sampling: SampleSettings

    @property
    def device(self) -> torch.device:
        """Where to draw."""
        return self.decoder.device

    def latents(
        self, model: nn.Module, labels: NDArray[np.uint8], prompt: str, seed: int, before_step: Callable[[], None]
    ) -> Tensor:
        """Draw one picture, up to its latents, (4, h, w).

        Args:
            model: see Learner.inference.
            labels: (H, W) class indices, or (H, W, 3) RGB without a palette; sides are multiples of the VAE's factor.
            prompt: of the picture.
            seed: of its noise.
            before_step: called before every sampling step; it may raise to abandon the picture.

        Raises:
            MapError: a pixel that the ControlNet would see is off the palette.
        """
        control = self.paint(torch.from_numpy(labels.copy())[None].to(self.device))  # (1, 3, H, W)
        self.paint.require_exact(self.paint.count_off_palette(control))
        height, width = (side // self.factor for side in labels.shape[:2])
        noise = torch.randn(self.channels, height, width, generator=torch.Generator().manual_seed(seed))
        encoded, unconditional = (self.encode_prompt(text).to(self.device) for text in (prompt, ""))
        request = sampler.SampleRequest(noise.to(self.device), encoded, unconditional, control[0])
        shown = families.whole(labels.shape[1], labels.shape[0])
        time_ids = torch.tensor([shown], dtype=torch.float32, device=self.device)

        def predict(noisy_latents: Tensor, timesteps: Tensor, prompts: Tensor, controls: Tensor) -> Tensor:
            hidden_states, more = self.conditioning.inputs(prompts, time_ids.expand(len(prompts), -1))
            prediction: Tensor = model(noisy_latents, timesteps, hidden_states, controls, **more)
            return prediction

        return sampler.sample(predict, [request], self.sampling, self.prediction, before_step)[0]

    def free_cached_memory(self) -> None:
        """Release cached blocks: shapes differ from training's, so that they would only fragment the memory."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
