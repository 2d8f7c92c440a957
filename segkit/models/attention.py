"""Faster attention for OneFormer and Mask2Former on CPUs and NVIDIA GPUs: the same results within rounding.

A third to a half of these networks' time is their pixel decoder's deformable attention: for each pixel of three feature
maps and each head, a weighted sum of values at 12 positions between pixels. transformers copies the values into another
layout, calls grid_sample for each map, stacks the samples and multiplies them. Here a position becomes its four
neighbouring pixels, and one `embedding_bag` reads and sums the 48 vectors: no sample is ever stored.

Between the layers of their decoder, masks of a quarter of the input's size are predicted only to be scaled down to what
limits attention in the next layer. Scaling is linear, so here the features are scaled once, and not each layer's masks.

This relies on arguments and submodules of classes of transformers that are private. So it is limited to versions that
were compared, and the environment variable SEGKIT_PLAIN_ATTENTION=1 turns it off.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

VERSIONS = ("5.20", "5.23")
"""First and last minor version of transformers whose classes were compared."""
SWITCH = "SEGKIT_PLAIN_ATTENTION"
"""Environment variable: if it is set, networks run as transformers wrote them."""

CLASSES = {
    "OneFormerPixelDecoderEncoderMultiscaleDeformableAttention",
    "Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention",
}
"""Classes of transformers whose forward method is replaced."""
METHODS = {
    "OneFormerTransformerDecoder": ("", "forward_prediction_heads"),
    "Mask2FormerMaskedAttentionDecoder": ("mask_predictor", "forward"),
}
"""Decoders of transformers, with the submodule ("": their own) and its method that predict masks between layers."""

_CHUNK = 2048
"""Queries at a time on a CPU, so that rows and weights stay in its cache; a GPU gets all at once."""
_BEFORE, _AFTER = 1, 2
"""Zeros around each feature map, in pixels. grid_sample's padding makes a position one pixel outside zero, as all that
are farther away: they are moved there, after which no neighbour needs a test of its own."""


def accelerate(model: Any) -> bool:
    """Replace the slow attention of a network in place; networks without deformable attention stay as they are.

    Results differ by rounding only, about 1e-5 of the values. Where gradients are recorded, and on devices other than
    CPUs and CUDA, transformers' own deformable attention still runs.

    Returns:
        Whether anything was replaced.
    """
    if os.environ.get(SWITCH) or not _is_known_version():
        return False
    from torch.nn import MultiheadAttention

    deformable = [module for module in model.modules() if type(module).__name__ in CLASSES]
    for module in deformable:
        module.forward = partial(_forward, module)
    for module in model.modules() if deformable else ():
        if isinstance(module, MultiheadAttention):
            module.register_forward_pre_hook(_without_weights, with_kwargs=True)
        if type(module).__name__ in METHODS:
            owner, method = METHODS[type(module).__name__]
            predictor = module.get_submodule(owner)
            masks = _SmallMasks(getattr(predictor, method), len(module.layers))
            setattr(predictor, method, masks)
            module.register_forward_pre_hook(masks.begin)
    return bool(deformable)


def _is_known_version() -> bool:
    from transformers import __version__

    first, last, installed = (tuple(map(int, version.split(".")[:2])) for version in (*VERSIONS, __version__))
    return first <= installed <= last


def _without_weights(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return no attention weights, which nothing reads: torch then attends without storing them."""
    return args, {**kwargs, "need_weights": False}


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


def deformable_attention(
    value: "Tensor", shapes: Sequence[tuple[int, int]], reference_points: "Tensor", offsets: "Tensor", logits: "Tensor"
) -> "Tensor":
    """Compute multi-scale deformable attention (Zhu et al., "Deformable DETR", equation 3), without gradients.

    Args:
        value: (B, S, C), projected values of the pixels of all feature maps, one map after another.
        shapes: (height, width) of each map; S pixels together.
        reference_points: (B, Q, L, 2) x and y of each query in each map, 0 to 1 from edge to edge.
        offsets: (B, Q, heads, L, P, 2) x and y from there to each position, in pixels of the map.
        logits: (B, Q, heads, L, P) of the attention weights, before their softmax over L and P.

    Returns:
        (B, Q, C) float32.
    """
    import torch
    from torch.nn import functional

    batch, queries, heads = logits.shape[:3]
    maps = _padded(value.float(), shapes, heads)
    centers = (reference_points.float() * maps.sizes + (_BEFORE - 0.5)).flatten(0, 1)[:, None, :, None]
    picture = torch.arange(batch, dtype=torch.int32, device=value.device).repeat_interleave(queries)
    starts = picture[:, None, None, None] * (len(maps.vectors) // batch) + maps.starts
    chunk = _CHUNK if value.device.type == "cpu" else batch * queries
    tensors = centers, offsets.float().flatten(0, 1), logits.float().flatten(0, 1), starts
    sums = []
    for center, offset, logit, start in zip(*(torch.split(tensor, chunk) for tensor in tensors), strict=True):
        attention = _softmax(logit.flatten(2)).view_as(logit)
        rows, weights = _neighbours(maps, offset + center, attention, start)
        sums.append(functional.embedding_bag(rows, maps.vectors, mode="sum", per_sample_weights=weights))
    return torch.cat(sums).view(batch, queries, -1)


def _softmax(logits: "Tensor") -> "Tensor":
    """Return the softmax over the last dimension: for 12 values, torch's own takes five times as long on a CPU."""
    exponentials = (logits - logits.amax(-1, keepdim=True)).exp_()
    return exponentials.div_(exponentials.sum(-1, keepdim=True))


@dataclass(frozen=True)
class _Maps:
    """Feature maps with their borders of zeros.

    Attributes:
        vectors: (B * pixels * heads, C / heads) float32.
        sizes: (L, 2) float32 width and height without the border.
        widths: (L, 1) int32 width with the border.
        starts: (heads, L, 1) int32 row of the first vector of each map.
    """

    vectors: "Tensor"
    sizes: "Tensor"
    widths: "Tensor"
    starts: "Tensor"


def _padded(value: "Tensor", shapes: Sequence[tuple[int, int]], heads: int) -> _Maps:
    """Lay the pixels of all maps out with their borders; see deformable_attention for the arguments."""
    import torch
    from torch.nn import functional

    border = (0, 0, _BEFORE, _AFTER, _BEFORE, _AFTER)
    parts = torch.split(value, [height * width for height, width in shapes], 1)
    maps = [
        functional.pad(pixels.view(len(pixels), *shape, -1), border).flatten(1, 2)
        for pixels, shape in zip(parts, shapes, strict=True)
    ]
    counts = torch.tensor([pixels.shape[1] for pixels in maps])
    sizes = torch.tensor(shapes).flip(1)
    starts = (counts.cumsum(0) - counts)[:, None] * heads + torch.arange(heads)[:, None, None]
    return _Maps(
        torch.cat(maps, 1).view(-1, value.shape[2] // heads),
        sizes.to(value.device, torch.float32),
        (sizes[:, :1] + (_BEFORE + _AFTER)).to(value.device, torch.int32),
        starts.to(value.device, torch.int32),
    )


def _neighbours(maps: _Maps, positions: "Tensor", attention: "Tensor", starts: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Return the four pixels around each position with their weights, which are bilinear times attention.

    Args:
        maps: the feature maps.
        positions: (N, heads, L, P, 2) x and y, in pixels of the maps with their borders.
        attention: (N, heads, L, P) attention weights.
        starts: (N, heads, L, 1) int32 row of each map's first vector, in the query's picture.

    Returns:
        (N * heads, 4 * L * P) int32 rows of maps.vectors, and float32 weights.
    """
    import torch

    heads = attention.shape[1]
    limits = maps.sizes + _BEFORE
    x = torch.minimum(positions[..., 0].clamp(min=0), limits[:, :1])
    y = torch.minimum(positions[..., 1].clamp(min=0), limits[:, 1:])
    left, top = x.floor(), y.floor()
    right, lower = x.sub_(left), y.sub_(top).mul_(attention)  # shares of the pixels on the right and below
    weights = attention.new_empty(*attention.shape[:2], 4, *attention.shape[2:])
    for corner, share in ((0, attention - lower), (2, lower)):
        torch.mul(share, right, out=weights[:, :, corner + 1])
        torch.sub(share, weights[:, :, corner + 1], out=weights[:, :, corner])
    # NaN as an integer is any number; of the rows, only negative ones are out of range, and the weights stay NaN.
    cells = top.mul_(maps.widths).add_(left).to(torch.int32).clamp_(min=0).mul_(heads)
    rows = torch.empty_like(weights, dtype=torch.int32)
    torch.add(cells, starts, out=rows[:, :, 0])
    torch.add(rows[:, :, 0], maps.widths * heads, out=rows[:, :, 2])
    for corner in (1, 3):
        torch.add(rows[:, :, corner - 1], heads, out=rows[:, :, corner])
    return rows.flatten(2).flatten(0, 1), weights.flatten(2).flatten(0, 1)
