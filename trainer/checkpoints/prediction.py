"""What a UNet predicts, noise or velocity, measured with one forward pass: most single files do not record it.

At the last timestep the input x = alpha x0 + sigma noise is almost pure noise (alpha = 0.07, sigma = 0.998). A network
that predicts the noise (epsilon) therefore returns its input, and one that predicts the velocity
v = alpha noise - sigma x0 returns its estimate of -x0, which depends little on the input. The slope of the regression
of the output on the input is near 1 for the first and near 0 for the second.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trainer.checkpoints import families

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from torch import Tensor

Prediction = Literal["epsilon", "v_prediction"]

TIMESTEP = 999
THRESHOLD = 0.5
"""Slope above which the network predicts the noise."""

_SIDE = 32
"""Side of the latents: pictures of 256 pixels, which these networks know well enough to return noise."""


@dataclass(frozen=True)
class Recorded:
    """The prediction type that a single file records, as files of SDXL with v-prediction do.

    Attributes:
        prediction: the prediction type.
        is_zero_terminal: whether its noise schedule ends without any signal.
    """

    prediction: Prediction
    is_zero_terminal: bool

    @property
    def sentence(self) -> str:
        """What the file records, in one line."""
        terminal = (
            " It was trained with a noise schedule that ends at zero signal (ztsnr); segkit's ends just before."
            if self.is_zero_terminal
            else ""
        )
        return f"Prediction type: {self.prediction}, as the file says (v_pred).{terminal}"


def recorded(names: Container[str]) -> Recorded | None:
    """Return the prediction type that a single file records by empty tensors called v_pred and ztsnr; None without."""
    return Recorded("v_prediction", "ztsnr" in names) if "v_pred" in names else None


@dataclass(frozen=True)
class Guess:
    """The prediction type of a base whose file does not record it.

    Attributes:
        prediction: the prediction type to use.
        slope: of the regression of the output on the input at the last timestep.
        is_measured: whether the slope decided, or the family.
    """

    prediction: Prediction
    slope: float
    is_measured: bool

    @property
    def sentence(self) -> str:
        """The guess, its evidence and how to override it, in one line."""
        other = "v_prediction" if self.prediction == "epsilon" else "epsilon"
        measured = f"at t = {TIMESTEP} the output follows the noise with slope {self.slope:.2f}"
        if self.is_measured:
            return f"Prediction type: {self.prediction} ({measured}). To override it, set prediction to {other}."
        return (
            f"Prediction type: {self.prediction}, as usual for this family, although {measured} instead of about 1. "
            f"If its author says otherwise, set prediction to {other}."
        )


def guess(unet: "UNet2DConditionModel", text_encoders: Sequence[Any]) -> Guess:
    """Guess a base's prediction type.

    SD2 was released with both types, which the measurement tells apart. SD1 predicts the noise, and so does SDXL unless
    its file says otherwise (see `recorded`); a slope that contradicts it is reported and does not decide.

    Args:
        unet: the UNet, in fp32.
        text_encoders: those of its family, which supply the empty prompt.
    """
    slope = noise_slope(unet, text_encoders)
    if families.of(unet.config).has_both_predictions:
        return Guess("epsilon" if slope > THRESHOLD else "v_prediction", slope, is_measured=True)
    return Guess("epsilon", slope, is_measured=slope > THRESHOLD)


def noise_slope(unet: "UNet2DConditionModel", text_encoders: Sequence[Any]) -> float:
    """Return the slope of the regression of a UNet's output on pure noise at the last timestep.

    Args:
        unet: the UNet, in fp32.
        text_encoders: those of its family.
    """
    import torch

    conditioning = families.conditioning(unet.config)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, unet.config.in_channels, _SIDE, _SIDE, generator=generator).to(unet.device)
    time_ids = torch.tensor([families.whole(8 * _SIDE, 8 * _SIDE)], dtype=torch.float32, device=unet.device)
    with torch.inference_mode():
        prompt = _empty_prompt(unet, text_encoders)
        hidden_states, options = conditioning.inputs(prompt[None], time_ids)
        output = unet(noise, torch.tensor([TIMESTEP], device=unet.device), hidden_states, **options).sample
    noise, output = noise - noise.mean(), output - output.mean()
    return float((output * noise).sum() / noise.square().sum())


def _empty_prompt(unet: "UNet2DConditionModel", text_encoders: Sequence[Any]) -> "Tensor":
    """Return the embedding of the empty prompt as the family has it: zeros, or that of a start token and end tokens."""
    import torch

    family, config = families.of(unet.config), text_encoders[0].config
    if family.has_blank_zero:
        shape = families.conditioning(unet.config).shape(config.max_position_embeddings)
        return torch.zeros(shape, device=unet.device)
    input_ids = torch.full((1, config.max_position_embeddings), config.vocab_size - 1, device=unet.device)
    input_ids[0, 0] = config.vocab_size - 2
    return family.encode(text_encoders, [input_ids])
