"""Multi-scale deformable attention by one `embedding_bag`: the results of grid_sample within rounding, in less time.

For each pixel of three feature maps and each head, it is a weighted sum of values at 12 positions between pixels.
transformers copies the values into another layout, calls grid_sample for each map, stacks the samples and multiplies
them. Here a position becomes its four neighbouring pixels, and one `embedding_bag` reads and sums the 48 vectors: no
sample is ever stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 2048
"""Queries at a time on a CPU, so that rows and weights stay in its cache; a GPU gets all at once."""
_BEFORE, _AFTER = 1, 2
"""Zeros around each feature map, in pixels. grid_sample's padding makes a position one pixel outside zero, as all that
are farther away: they are moved there, after which no neighbour needs a test of its own."""


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
