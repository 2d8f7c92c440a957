"""Per-pixel argmax of coarse class scores, without materialising the upsampled class volume.

The result is bit-identical to argmax over torch.nn.functional.interpolate(scores, mode="bilinear"), which is what
transformers' post_process_semantic_segmentation computes, but takes less time and far less memory. A bilinear value
lies between its four corners, so a class that nowhere reaches the best class's lower bound can never win: almost all
classes are pruned at the network's own resolution.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
_ROUNDING = 1e-5
"""Bound on the relative rounding error of a bilinear value: more than eight float32 operations can introduce."""
_VECTOR = 16
"""Floats per AVX-512 register, the widest CPU vector that torch compiles for."""
_MAX_WHOLE_VOLUME = 1 << 22
"""Floats (16 MiB). Smaller class volumes are upsampled in one call. Pruning would gain nothing, and torch's vectorised
kernel for outputs with height + width <= 128 rounds differently with many planes, so the last bit would change."""
_MAX_WHOLE_CLASSES = 3
"""Up to this many planes are upsampled in one call as well: single-threaded torch uses its vectorised kernel for three
planes."""


def candidates(scores: "Tensor") -> "Tensor":
    """Return the classes that can win at any pixel after bilinear upsampling, in ascending order.

    Interpolation is monotone in each corner, so within a cell of four pixels a class stays, rounding included, between
    the constant planes of its lowest and highest corner. It loses wherever its highest corner does not exceed another
    class's lowest corner. A class with a lower index than that other class would win a tie, so it must be lower by
    more than the rounding error.

    Args:
        scores: (C, h, w) float32, finite.

    Returns:
        (K,) int64 class indices, K >= 1.
    """
    import torch
    from torch.nn import functional

    def max_over_cells(plane: "Tensor") -> "Tensor":  # maximum over the four cells that meet at a pixel
        return functional.max_pool2d(functional.pad(plane[None], (1, 0, 1, 0), mode="replicate"), 2, 1)[0]

    best = scores.argmax(0)  # (h, w)
    corners = torch.stack([best[_neighbours(corner, best)] for corner in _CORNERS])  # (4, h, w): best class per corner
    # (4, h, w): for each of those four classes, its lowest score over the cell's corners
    lowest = torch.stack([scores[corners, *_neighbours(corner, best)] for corner in _CORNERS]).amin(0)
    bound, corner_index = lowest.max(0)  # (h, w): one class, the leader, scores at least this everywhere in the cell
    leader = corners.gather(0, corner_index[None])[0]
    # A pixel touches four cells, and a class is pruned only if it loses in all of them: hence the smallest bound and,
    # for ties, the largest leader index.
    threshold = -max_over_cells(-bound[None])[0]
    last_leader = max_over_cells(leader[None].float())[0]
    indices = torch.arange(len(scores), device=scores.device)[:, None, None]
    above = scores > threshold
    above |= (scores >= threshold - _ROUNDING * threshold.abs()) & (indices < last_leader)
    wins = above.flatten(1).any(1)
    wins[best.flatten()] = True
    return torch.nonzero(wins).flatten()


def _neighbours(corner: tuple[int, int], plane: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Return row and column indices of each pixel's neighbour at a corner of its cell, clamped at the edges."""
    import torch

    rows, columns = (torch.arange(side, device=plane.device) for side in plane.shape)
    return (rows + corner[0]).clamp_(max=len(rows) - 1)[:, None], (columns + corner[1]).clamp_(max=len(columns) - 1)


def label(scores: "Tensor", size: tuple[int, int]) -> tuple["Tensor", "Tensor"]:
    """Return the winning class and its score at every pixel of the upsampled picture.

    Planes are upsampled one at a time (16 at a time for channels_last scores), so memory does not grow with the number
    of classes. Ties go to the lowest class index, as in argmax.

    Args:
        scores: (C, h, w) float32, finite, on any device.
        size: (H, W) of the result.

    Returns:
        (H, W) int16 class indices and (H, W) float32 scores, on the same device.
    """
    import torch
    from torch.nn import functional

    def upsample(planes: "Tensor") -> "Tensor":
        return functional.interpolate(planes[None], size=size, mode="bilinear", align_corners=False)[0]

    if len(scores) <= _MAX_WHOLE_CLASSES or len(scores) * size[0] * size[1] <= _MAX_WHOLE_VOLUME:
        best, winners = upsample(scores).max(0)
        return winners.to(torch.int16), best
    winners = torch.zeros(size, dtype=torch.int16, device=scores.device)
    best = torch.full(size, -torch.inf, device=scores.device)
    channels_last = _is_channels_last(scores)
    remaining = candidates(scores)
    for group in _vector_groups(remaining, len(scores)) if channels_last else torch.split(remaining, 1):
        layout = torch.channels_last if channels_last else torch.contiguous_format
        planes = upsample(scores[group][None].contiguous(memory_format=layout)[0])
        for index, plane in zip(group.tolist(), planes, strict=True):
            winners.masked_fill_(plane > best, index)  # strictly greater, so that ties keep the lower index
            torch.maximum(best, plane, out=best)
        del planes, plane  # free them before the next group is upsampled
    return winners, best


def _is_channels_last(scores: "Tensor") -> bool:
    """Return whether torch upsamples these planes with its channels_last kernel, which rounds the last bit differently.

    SegFormer's logits have this layout when a batch holds more than one picture.
    """
    import torch

    return len(scores) > 3 and scores[None].is_contiguous(memory_format=torch.channels_last)


def _vector_groups(classes: "Tensor", count: int) -> "list[Tensor]":
    """Group classes so that the channels_last kernel rounds each as it would when upsampling all of them at once.

    The kernel processes whole vector registers of channels and then the remainder one channel at a time, with
    different rounding. So the remainder stays together as the last group, and the other classes fill whole registers;
    the last register is padded by repeating its last class.

    Args:
        classes: (K,) int64, ascending.
        count: number of all classes, at least 4.

    Returns:
        Class indices of each group, ascending; together the groups hold all of `classes`.
    """
    import torch

    remainder = count % _VECTOR
    if remainder < 4 and count >= _VECTOR:
        remainder += _VECTOR  # fewer than four channels would select the other kernel
    scalar = torch.arange(count - remainder, count, device=classes.device)
    vectorized = classes[classes < count - remainder]
    if len(vectorized) == 0:
        return [scalar]
    vectorized = torch.cat([vectorized, vectorized[-1:].expand(-len(vectorized) % _VECTOR)])
    return [*torch.split(vectorized, _VECTOR), scalar]
