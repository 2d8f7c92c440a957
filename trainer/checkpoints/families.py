"""The families of Stable Diffusion as data: what distinguishes them is described here, and nowhere else.

A network belongs to the family whose structure it has, whatever its widths: the toy bases and the small networks of
tests are members like the released ones. docs/families.md says how to add a family.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

SIZE_VALUES = 6
"""Numbers in a family's time_ids: height and width of the source, top and left of the crop, height and width shown."""

FileLayout = Literal["ldm", "diffusers"]


@dataclass(frozen=True)
class TextEncoder:
    """One of a family's text encoders.

    Attributes:
        folder, tokenizer: its folder and that of its tokenizer in a diffusers folder.
        kind: name of its class in transformers.
        layer: which hidden states condition the UNet: -1 the last, after the final layer norm; -2 those before the
            last layer, without a norm.
        is_pooled: whether its projected, pooled output conditions the UNet too.
        padding: token that pads prompts; "" for the tokenizer's own, which ends a text.
    """

    folder: str
    tokenizer: str
    kind: str
    layer: int = -1
    is_pooled: bool = False
    padding: str = ""

    def __call__(self, network: Any, input_ids: "Tensor") -> "tuple[Tensor, Tensor | None]":
        """Encode one prompt.

        Args:
            network: the text encoder.
            input_ids: (1, 77) int64.

        Returns:
            Hidden states (77, width), and the pooled output (projection_dim,) or None.
        """
        if self.layer == -1 and not self.is_pooled:
            hidden_states: Tensor = network(input_ids)[0][0]
            return hidden_states, None
        output = network(input_ids, output_hidden_states=True)
        return output.hidden_states[self.layer][0], output.text_embeds[0] if self.is_pooled else None


@dataclass(frozen=True)
class Family:
    """What the networks of a family have in common.

    Attributes:
        name: short name, as checkpoints are identified by.
        title: name in messages.
        width: cross-attention width of the released networks.
        text_encoders: what encodes prompts; their hidden states are concatenated in this order.
        is_sized: UNet and ControlNet are also conditioned on the pooled prompt and on the picture's size and crop.
        is_linear: attention is projected by linear layers instead of 1x1 convolutions.
        has_blank_zero: an empty prompt is encoded as zeros, as the base was trained and pipelines draw.
        scaling_factor: factor of the latents of the released VAEs, which files do not record.
        has_delicate_vae: the released VAE overflows in fp16, so that it stays in fp32 unless its configuration has
            force_upcast = false.
        has_both_predictions: released with either prediction type, which files do not record.
        resolution: side of the squares that the released networks were trained on last, in pixels.
        layout: names of the weights in a ControlNet's single file, as A1111, Forge and ComfyUI read it.
        pipeline, pipeline_options: name of the text-to-image pipeline in diffusers, and what it must be told.
        controlnet: a released segmentation ControlNet; "" if none is known.
    """

    name: str
    title: str
    width: int
    text_encoders: tuple[TextEncoder, ...]
    is_sized: bool
    is_linear: bool
    has_blank_zero: bool
    scaling_factor: float
    has_delicate_vae: bool
    has_both_predictions: bool
    resolution: int
    layout: FileLayout
    pipeline: str
    pipeline_options: Mapping[str, Any]
    controlnet: str = ""

    def __str__(self) -> str:
        return self.title

    def encode(self, networks: Sequence[Any], input_ids: "Sequence[Tensor]") -> "Tensor":
        """Encode one prompt as one tensor; see Conditioning.

        Args:
            networks: the text encoders.
            input_ids: the result of `tokenize`, on their device.
        """
        import torch

        parts = zip(self.text_encoders, networks, input_ids, strict=True)
        results = [encode(network, tokens) for encode, network, tokens in parts]
        hidden_states = [hidden_state for hidden_state, _ in results]
        pooled = [output for _, output in results if output is not None]
        together = torch.cat(hidden_states, -1) if len(hidden_states) > 1 else hidden_states[0]
        return torch.cat([together.flatten(), *pooled]) if pooled else together


@dataclass(frozen=True)
class Conditioning:
    """How the embedding of a prompt, one tensor, becomes the inputs of UNet and ControlNet.

    An embedding is encoder_hidden_states, (77, width). In a family that is conditioned on the pooled prompt too, it is
    flat: encoder_hidden_states, then the pooled embedding. One tensor is cached, batched and passed on as one thing.

    Attributes:
        width: cross-attention width.
        pooled: width of the pooled embedding; 0 in families without one.
    """

    width: int
    pooled: int = 0

    def shape(self, tokens: int) -> tuple[int, ...]:
        """Return the shape of a prompt's embedding."""
        return (tokens * self.width + self.pooled,) if self.pooled else (tokens, self.width)

    def inputs(self, prompts: "Tensor", time_ids: "Tensor | None") -> "tuple[Tensor, dict[str, Any]]":
        """Return encoder_hidden_states, (B, 77, width), and further keyword arguments of UNet and ControlNet.

        Args:
            prompts: embeddings of B prompts.
            time_ids: (B, SIZE_VALUES) float32; None for families that do not use them.
        """
        if not self.pooled:
            return prompts, {}
        hidden_states = prompts[:, : -self.pooled].reshape(len(prompts), -1, self.width)
        return hidden_states, {"added_cond_kwargs": {"text_embeds": prompts[:, -self.pooled :], "time_ids": time_ids}}


_CLIP = TextEncoder("text_encoder", "tokenizer", "CLIPTextModel")
_UNCHECKED = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}

SD1 = Family(
    name="SD1",
    title="Stable Diffusion 1",
    width=768,
    text_encoders=(_CLIP,),
    is_sized=False,
    is_linear=False,
    has_blank_zero=False,
    scaling_factor=0.18215,
    has_delicate_vae=False,
    has_both_predictions=False,
    resolution=512,
    layout="ldm",
    pipeline="StableDiffusionPipeline",
    pipeline_options=_UNCHECKED,
    controlnet="lllyasviel/control_v11p_sd15_seg",
)
SD2 = Family(
    name="SD2",
    title="Stable Diffusion 2",
    width=1024,
    text_encoders=(_CLIP,),
    is_sized=False,
    is_linear=True,
    has_blank_zero=False,
    scaling_factor=0.18215,
    has_delicate_vae=False,
    has_both_predictions=True,
    resolution=512,  # or 768; of equal structure
    layout="ldm",
    pipeline="StableDiffusionPipeline",
    pipeline_options=_UNCHECKED,
)
SDXL = Family(
    name="SDXL",
    title="Stable Diffusion XL",
    width=2048,
    text_encoders=(
        TextEncoder("text_encoder", "tokenizer", "CLIPTextModel", layer=-2),
        TextEncoder(
            "text_encoder_2", "tokenizer_2", "CLIPTextModelWithProjection", layer=-2, is_pooled=True, padding="!"
        ),
    ),
    is_sized=True,
    is_linear=True,
    has_blank_zero=True,
    scaling_factor=0.13025,
    has_delicate_vae=True,
    has_both_predictions=False,
    resolution=1024,
    layout="diffusers",
    pipeline="StableDiffusionXLPipeline",
    pipeline_options={},
    controlnet="SargeZT/sdxl-controlnet-seg",
)

FAMILIES = (SD1, SD2, SDXL)


def of(config: Mapping[str, Any]) -> Family:
    """Return the family of a UNet or ControlNet by the structure that its configuration describes."""
    is_sized = config.get("addition_embed_type") == "text_time"
    is_linear = bool(config.get("use_linear_projection"))
    return min(FAMILIES, key=lambda family: (family.is_sized != is_sized, family.is_linear != is_linear))


def conditioning(config: Mapping[str, Any]) -> Conditioning:
    """Return what conditions a UNet or ControlNet, by its configuration."""
    width = int(config["cross_attention_dim"])
    if not of(config).is_sized:
        return Conditioning(width)
    numbers = SIZE_VALUES * int(config["addition_time_embed_dim"])
    return Conditioning(width, int(config["projection_class_embeddings_input_dim"]) - numbers)


def tokenize(tokenizers: Sequence[Any], text: str, length: int) -> "list[Tensor]":
    """Return a prompt's tokens for each text encoder, (1, length) int64; longer prompts are truncated."""
    return [
        tokenizer(text, padding="max_length", truncation=True, max_length=length, return_tensors="pt").input_ids
        for tokenizer in tokenizers
    ]


def whole(width: int, height: int) -> tuple[int, ...]:
    """Return the time_ids of a picture that is shown whole, as everything drawn is."""
    return height, width, 0, 0, height, width
