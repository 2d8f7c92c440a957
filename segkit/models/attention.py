"""Faster inference of OneFormer and Mask2Former on CPUs and NVIDIA GPUs: the same results within rounding.

A third to a half of these networks' time is their pixel decoder's deformable attention: see segkit.models.deformable.
Of the rest, most is products with weights: see segkit.models.layers.

Between the layers of their decoder, masks of a quarter of the input's size are predicted only to be scaled down to what
limits attention in the next layer. Scaling is linear, so here the features are scaled once, and not each layer's masks.
What limits attention is the same for all heads; it is computed and kept once, and not for each of them.

This relies on arguments and submodules of classes of transformers that are private. So it is limited to versions that
were compared, and the environment variable SEGKIT_PLAIN_ATTENTION=1 turns it off.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from segkit.models import layers
from segkit.models.deformable import deformable_attention

if TYPE_CHECKING:
    from torch import Tensor

VERSIONS = ("5.23", "5.23")
"""First and last minor version of transformers whose classes were compared."""
SWITCH = "SEGKIT_PLAIN_ATTENTION"
"""Environment variable: if it is set, networks run as transformers wrote them."""

CLASSES = {
    "OneFormerPixelDecoderEncoderMultiscaleDeformableAttention",
    "Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention",
}
"""Classes of transformers with deformable attention."""
METHODS = {
    "OneFormerTransformerDecoder": ("", "forward_prediction_heads"),
    "Mask2FormerMaskedAttentionDecoder": ("mask_predictor", "forward"),
}
"""Decoders of transformers, with the submodule ("": their own) and its method that predict masks between layers."""
POINTWISE = ("mask_projection", "query_input_projection")
"""1x1 convolutions of the largest feature map, after which all that reads it treats its pixels as rows."""


def accelerate(model: Any) -> bool:
    """Replace the slow parts of a network in place; networks without deformable attention stay as they are.

    Results differ by rounding only, about 1e-5 of the values. Where gradients are recorded, transformers' own code
    runs, and so does its deformable attention on devices other than CPUs and CUDA.

    Returns:
        Whether anything was replaced.
    """
    if os.environ.get(SWITCH) or not _is_known_version():
        return False
    modules = list(model.named_modules())
    if not any(type(module).__name__ in CLASSES for _, module in modules):
        return False
    for name, module in modules:
        if replacement := _replacement(name, module):
            module.forward = partial(replacement, module)
        if type(module).__name__ in METHODS:
            _compute_small_masks(module)
    return True


def _replacement(name: str, module: Any) -> Callable[..., Any] | None:
    """Return what replaces the forward method of a module; None for those that stay as they are."""
    from torch import nn

    by_class: dict[str, Callable[..., Any]] = dict.fromkeys(CLASSES, _forward)
    by_class |= dict.fromkeys(("OneFormerPixelDecoderEncoderLayer", "Mask2FormerPixelDecoderEncoderLayer"), _encode)
    by_class |= dict.fromkeys(("OneFormerSinePositionEmbedding", "Mask2FormerSinePositionEmbedding"), _positions)
    if type(module).__name__ == "SwinMLP" and type(module.activation_fn).__name__ == "GELUActivation":
        return _perceptron
    if type(module) is nn.MultiheadAttention and _is_plain(module):
        return _attend
    if type(module) is nn.Conv2d and name.rpartition(".")[2] in POINTWISE and module.kernel_size == (1, 1):
        return _pointwise
    return _linear if type(module) is nn.Linear else by_class.get(type(module).__name__)


def _is_plain(attention: Any) -> bool:
    """Return whether a torch.nn.MultiheadAttention has inputs of one width, biases, and pictures in dimension 1."""
    return bool(attention._qkv_same_embed_dim and attention.in_proj_bias is not None and not attention.batch_first)


def _is_known_version() -> bool:
    from transformers import __version__

    first, last, installed = (tuple(map(int, version.split(".")[:2])) for version in (*VERSIONS, __version__))
    return first <= installed <= last


def _is_training(module: Any) -> bool:
    """Return whether gradients are recorded or dropout may be applied, which OneFormer's configuration can demand."""
    import torch

    return torch.is_grad_enabled() or module.training or bool(getattr(module, "is_training", False))


def _is_elsewhere(module: Any, inputs: "Tensor") -> bool:
    """Return whether a layer stays as it is: on a GPU, which is fast without help, or in a training."""
    return inputs.device.type != "cpu" or _is_training(module)


def _linear(module: Any, inputs: "Tensor") -> Any:
    """Replace the forward method of a linear layer."""
    if _is_elsewhere(module, inputs):
        return type(module).forward(module, inputs)
    return layers.linear(inputs, module.weight, module.bias)


def _perceptron(module: Any, hidden_states: "Tensor") -> Any:
    """Replace the forward method of a Swin Transformer's perceptron."""
    if _is_elsewhere(module, hidden_states):
        return type(module).forward(module, hidden_states)
    return layers.perceptron(hidden_states, module.fc1, module.fc2, "gelu")


def _pointwise(module: Any, inputs: "Tensor") -> Any:
    """Replace the forward method of a 1x1 convolution; its output is in channels_last format."""
    if _is_elsewhere(module, inputs):
        return type(module).forward(module, inputs)
    return layers.pointwise(inputs, module.weight, module.bias)


def _positions(module: Any, shape: Any, device: Any, dtype: Any, mask: "Tensor | None" = None) -> Any:
    """Replace the forward method of a position embedding: the same values, computed for one column and one row.

    Args:
        module: half of its channels depend on y alone, and the others on x.
        shape: (B, C, H, W) of the feature map.
        device: of the result.
        dtype: of the result.
        mask: as for the method, which is called as it is if there is one.
    """
    import torch

    embed = partial(type(module).forward, module, device=device, dtype=dtype)
    if mask is not None:
        return embed(shape, mask=mask)
    batch, channels, height, width = shape
    half = module.num_position_features
    rows = embed((batch, channels, height, 1))[:, :half].expand(-1, -1, -1, width)
    columns = embed((batch, channels, 1, width))[:, half:].expand(-1, -1, height, -1)
    return torch.cat([part.permute(0, 2, 3, 1) for part in (rows, columns)], -1).permute(0, 3, 1, 2)


def _encode(module: Any, hidden_states: "Tensor", attention_mask: "Tensor", **inputs: Any) -> Any:
    """Replace the forward method of a layer of the pixel decoder's encoder; it returns no attention weights."""
    if _is_training(module) or inputs.get("output_attentions"):
        return type(module).forward(module, hidden_states, attention_mask, **inputs)
    context, _ = module.self_attn(
        hidden_states=hidden_states, attention_mask=attention_mask, encoder_hidden_states=hidden_states, **inputs
    )
    hidden_states = module.self_attn_layer_norm(hidden_states + context)
    outputs = layers.perceptron(hidden_states, module.fc1, module.fc2, "relu")
    return (module.final_layer_norm(hidden_states + outputs),)


def _attend(module: Any, query: "Tensor", key: "Tensor", value: "Tensor", **options: Any) -> tuple["Tensor", None]:
    """Replace the forward method of torch.nn.MultiheadAttention; it returns no weights, which nothing reads.

    Args:
        module: its weights are used.
        query: (Q, B, C).
        key: (K, B, C).
        value: (K, B, C).
        options: the other arguments of the method, by name; attn_mask may be one for all heads, (B, Q, K).
    """
    mask: Any = options.get("attn_mask")
    is_shared = mask is not None and mask.ndim == 3 and len(mask) == query.shape[1]
    is_usual = options.get("key_padding_mask") is None and not options.get("is_causal")
    if is_usual and (mask is None or is_shared) and not _is_training(module):
        return layers.attend(module, (query, key, value), mask), None
    if is_shared:
        options["attn_mask"] = mask.repeat_interleave(module.num_heads, 0)
    outputs: Tensor = type(module).forward(module, query, key, value, **options | {"need_weights": False})[0]
    return outputs, None


def _compute_small_masks(decoder: Any) -> None:
    """Replace the method of a decoder that predicts masks, and let it return one mask for all heads."""
    owner, method = METHODS[type(decoder).__name__]
    predictor = decoder.get_submodule(owner)
    predictor.num_heads = 1
    masks = _SmallMasks(getattr(predictor, method), len(decoder.layers))
    setattr(predictor, method, masks)
    decoder.register_forward_pre_hook(masks.begin)


class _SmallMasks:
    """The method of a decoder that predicts masks; only the last layer's, the result, are predicted in full size.

    Args:
        predict: transformers' method; it returns the masks, and scales them down to those that limit attention.
        layers: of the decoder; the method is called once before them and once after each.
    """

    def __init__(self, predict: Callable[..., Any], layers: int) -> None:
        self._predict, self._layers = predict, layers
        self._scaled: dict[tuple[int, ...], Tensor] = {}
        self._calls = 0

    def begin(self, *_: Any) -> None:
        """Prepare for another batch; after an error, the calls of the last one may be incomplete."""
        self._scaled.clear()
        self._calls = 0

    def __call__(self, states: "Tensor", features: "Tensor", attention_mask_target_size: tuple[int, ...]) -> Any:
        """Call the method with features (B, C, h, w) that are scaled already, except after the last layer."""
        import torch
        from torch.nn import functional

        size = tuple(attention_mask_target_size)
        if self._calls < self._layers and not torch.is_grad_enabled():
            if size not in self._scaled:
                self._scaled[size] = functional.interpolate(features, size, mode="bilinear", align_corners=False)
            features = self._scaled[size]
        else:
            self._scaled.clear()
        self._calls += 1
        return self._predict(states, features, attention_mask_target_size=attention_mask_target_size)


def _forward(module: Any, hidden_states: "Tensor", **inputs: Any) -> tuple["Tensor", Any]:
    """Replace the forward method of a module of one of CLASSES; it returns no attention weights.

    Args:
        module: its four linear layers are used.
        hidden_states: (B, Q, C), the pixels of all feature maps.
        inputs: the other arguments of the method, by name.
    """
    import torch

    device = hidden_states.device.type
    if torch.is_grad_enabled() or inputs.get("output_attentions") or device not in ("cpu", "cuda"):
        plain: tuple[Tensor, Any] = type(module).forward(module, hidden_states, **inputs)
        return plain
    value = module.value_proj(inputs["encoder_hidden_states"])
    if inputs["attention_mask"] is not None:
        value = value.masked_fill(inputs["attention_mask"][..., None], 0)
    queries = hidden_states + inputs["position_embeddings"]
    points = module.n_heads, module.n_levels, module.n_points
    context = deformable_attention(
        value,
        inputs["spatial_shapes_list"],
        inputs["reference_points"],
        module.sampling_offsets(queries).unflatten(-1, (*points, 2)),
        module.attention_weights(queries).unflatten(-1, points),
    )
    return module.output_proj(context), None
