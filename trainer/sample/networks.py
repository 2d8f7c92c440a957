"""The networks of a base with a ControlNet, and pictures drawn with them; what the ControlNet sees is checked."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from segkit.models import device, hub
from segkit.palette import Palette
from trainer.checkpoints import configs, families, load, lora, union
from trainer.checkpoints.digest import weights_digest
from trainer.checkpoints.load import Base
from trainer.checkpoints.runs import Weights
from trainer.data.latents import Encoder, text_digests
from trainer.data.paint import PalettePainter
from trainer.sample import controls, sampler
from trainer.sample.batching import ExactBatches
from trainer.sample.requests import Subject
from trainer.sample.sources import Sources
from trainer.settings import FRESH, UNION_MODE, GenerateSettings

if TYPE_CHECKING:
    from diffusers import ControlNetModel
    from torch import Tensor

_PROMPTS = 64
"""Embeddings of prompts that are kept: pictures of one map, and the negative prompt, share theirs."""


class Networks:
    """The networks, on their device and in their precision.

    Args:
        source: base, tokenizer and prediction type.
        settings: device, precision and sampling.
        palette: of the maps; None for control images that are not maps.
        weights: of the ControlNet; None for a fresh one.

    Attributes:
        precision: of the arithmetic, resolved.
        digests: hashes of all that determines the networks' outputs: see trainer.checkpoints.digest.
        guess: how the base's prediction type was guessed, in words; "" if it was recorded or set.
        step: which step of which run the ControlNet is, as a sentence; "" if it is not of a run.
        advice: that the base was made for larger pictures, as a sentence; "" if it was not.

    Raises:
        ModelError: a network is missing, damaged or of another architecture.
    """

    def __init__(
        self, source: Sources, settings: GenerateSettings, palette: Palette | None, weights: Weights | None
    ) -> None:
        import torch

        self._settings, self._palette = settings, palette
        self._device = device.resolve(settings.device, settings.precision)
        self.precision = self._device.precision
        prediction: Any = None if source.prediction == "auto" else source.prediction
        base = load.load_base(source.base, source.tokenizer, prediction, source.vae)
        controlnet = load.load_controlnet(weights or FRESH, base, mode=settings.controlnet_mode).eval()
        lora.merge(base, settings.loras)
        self.guess = base.guess.sentence if base.guess else ""
        self.step = weights.note if weights else ""
        self.advice = base.advice(settings.resolution)
        self.digests = digests(base, controlnet)  # before they are cast
        self._dtype = device.dtype(self.precision)
        self._place = torch.device(self._device.name)
        encoder = Encoder(base, self._place, self._dtype)
        self._decoder, self._encode = encoder.decoder(alone=False), lru_cache(_PROMPTS)(encoder.prompt)
        self._unet = base.unet.to(self._place, self._dtype)
        self._controlnet = controlnet.to(self._place, self._dtype)
        self._tokenizer, self._prediction = base.tokenizers[0], base.prediction
        self._conditioning = base.conditioning
        self._factor, self._channels = configs.vae_scale_factor(base.vae.config), base.unet.config.in_channels
        self._paint = PalettePainter(palette)
        self._batches = ExactBatches((self._unet, self._controlnet))
        controlnet.register_forward_pre_hook(self._check_control, with_kwargs=True)
        self._checked: Any = None

    def is_truncated(self, prompt: str) -> bool:
        """Return whether a prompt has more tokens than CLIP reads."""
        with hub.quiet():
            count = len(self._tokenizer(prompt).input_ids)
        return bool(count > self._tokenizer.model_max_length)

    def draw(self, subjects: Sequence[Subject]) -> list[Image.Image]:
        """Draw pictures of one size.

        A picture depends on its subject alone: its noise is from a CPU generator of its own, prompts are encoded and
        latents decoded one at a time, and see ExactBatches for what lies between.

        Raises:
            MapError: a pixel that the ControlNet would see is off the palette.
        """
        import torch

        with torch.inference_mode(), hub.quiet(), self._device.exact():
            requests = [self._request(subject) for subject in subjects]
            predict = partial(self._predict, [subject.strength for subject in subjects])
            latents = sampler.sample(predict, requests, self._settings, self._prediction)
            return [self._decoder.picture(picture) for picture in latents]

    def _request(self, subject: Subject) -> sampler.SampleRequest:
        import torch

        pixels = controls.pixels(subject.request, self._palette, subject.size)
        control = self._paint(torch.from_numpy(pixels.copy())[None])[0].to(self._place, self._dtype)
        width, height = (side // self._factor for side in subject.size)
        noise = torch.randn(self._channels, height, width, generator=torch.Generator().manual_seed(subject.seed))
        prompt, unconditional = map(self._encode, (subject.request.prompt, self._settings.negative))
        return sampler.SampleRequest(noise.to(self._place), prompt, unconditional, control)

    def _predict(
        self, strengths: Sequence[float], latents: "Tensor", timesteps: "Tensor", prompts: "Tensor",
        control: "Tensor | None",
    ) -> "Tensor":  # fmt: skip
        """Return the UNet's prediction for B pictures with their strengths: see sampler.sample."""
        import torch

        rows = len(latents) // len(strengths)
        scales = torch.tensor(strengths, device=self._place).repeat_interleave(rows).view(-1, 1, 1, 1)
        if not any(strengths):
            control = None  # residuals of zero change nothing
        return self._batches(self._controlled, rows, latents.to(self._dtype), timesteps, prompts, control, scales)

    def _controlled(
        self, latents: "Tensor", timesteps: "Tensor", prompts: "Tensor", control: "Tensor | None", scales: "Tensor"
    ) -> "Tensor":
        import torch

        height, width = (side * self._factor for side in latents.shape[2:])
        time_ids = torch.tensor([families.whole(width, height)] * len(latents), dtype=torch.float32, device=self._place)
        hidden_states, more = self._conditioning.inputs(prompts, time_ids)
        residuals = {}
        if control is not None:
            down, mid = self._controlnet(
                latents, timesteps, hidden_states, controlnet_cond=control, return_dict=False, **more
            )
            residuals = {
                "down_block_additional_residuals": [(residual * scales).to(self._dtype) for residual in down],
                "mid_block_additional_residual": (mid * scales).to(self._dtype),
            }
        prediction: Tensor = self._unet(latents, timesteps, hidden_states, **residuals, return_dict=False, **more)[0]
        return prediction

    def _check_control(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Check the ControlNet's input where it arrives, resized and cast; once for the steps that share it."""
        control = kwargs["controlnet_cond"]
        if self._palette is None or control is self._checked:
            return
        tolerance = 1e-4 if self.precision == "fp32" else 0.5
        self._paint.require_exact(self._paint.count_off_palette(control.cpu(), tolerance))
        self._checked = control


def digests(base: Base, controlnet: "ControlNetModel") -> list[str]:
    """Return hashes of all that determines the networks' outputs: weights, configurations, vocabulary, prediction type.

    In threads: hashing releases the interpreter, and Stable Diffusion with a ControlNet is 5.7 GB in fp32.
    """
    mode = union.mode(controlnet)
    extra = "" if mode in (None, UNION_MODE) else mode
    networks = (base.unet, base.prediction), (base.vae, ""), (controlnet, extra)
    with ThreadPoolExecutor(len(networks) + 1) as threads:
        text = threads.submit(text_digests, base.family, base.text_encoders, base.tokenizers)
        unet, vae, control = threads.map(lambda network: weights_digest(network[0], extra=network[1]), networks)
        return [unet, vae, *text.result(), control]
