"""The class of every pixel from a network's coarse scores, without ever holding the full class volume.

Equal, bit for bit, to argmax over torch.nn.functional.interpolate(scores, bilinear), which is what transformers'
post_process_semantic_segmentation does. It is faster and smaller because almost all classes can be ruled out at the
network's own resolution: a bilinear value lies between its four corners, so a class that nowhere reaches the best
class's lower bound can never win.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
_ROUNDING = 1e-5
"""How far rounding may move a constant plane, as a share of its value: more than eight float32 operations do."""
_VECTOR = 16
"""Floats of the longest CPU register for which torch compiles, AVX-512."""
_WHOLE = 1 << 22
"""Floats. A class volume up to 16 MiB is scaled whole: nothing is to be gained, and torch rounds pictures whose sides
add up to 128 or less differently when they have many planes (its vectorised kernel), which would move the last bit."""
_FEW = 3
"""Classes. So few planes are scaled whole too: torch on one thread takes its vectorised kernel for three."""


def candidates(scores: "Tensor") -> "Tensor":
    """Return the classes that may win somewhere after bilinear scaling, in ascending order.

    Within a cell of four pixels a class lies, rounding included, between the constant planes of its lowest and highest
    corner, since interpolation is monotone in each corner. So it loses wherever its highest corner is not above the
    lowest of another. An earlier class than that other would win a tie, so it must be lower by more than rounding.

    Args:
        scores: (C, h, w) float32, finite.

    Returns:
        (K,) int64 class indices, K >= 1.
    """
    import torch
    from torch.nn import functional

    def around(plane: "Tensor") -> "Tensor":  # the largest of the four cells at a pixel
        return functional.max_pool2d(functional.pad(plane[None], (1, 0, 1, 0), mode="replicate"), 2, 1)[0]

    best = scores.argmax(0)  # (h, w)
    corners = torch.stack([best[_at(corner, best)] for corner in _CORNERS])  # (4, h, w): classes of a cell's corners
    lowest = torch.stack([scores[corners, *_at(corner, best)] for corner in _CORNERS]).amin(0)  # (4, h, w)
    bound, place = lowest.max(0)  # (h, w): some class attains at least this everywhere in the cell
    leader = corners.gather(0, place[None])[0]
    needed = -around(-bound[None])[0]
    latest = around(leader[None].float())[0]
    places = torch.arange(len(scores), device=scores.device)[:, None, None]
    above = scores > needed
    above |= (scores >= needed - _ROUNDING * needed.abs()) & (places < latest)  # an earlier class wins a tie
    wins = above.flatten(1).any(1)
    wins[best.flatten()] = True
    return torch.nonzero(wins).flatten()


def _at(corner: tuple[int, int], plane: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Return the rows and columns of every pixel's neighbour at a corner of its cell, edges repeated."""
    import torch

    down, right = (torch.arange(side, device=plane.device) for side in plane.shape)
    return (down + corner[0]).clamp_(max=len(down) - 1)[:, None], (right + corner[1]).clamp_(max=len(right) - 1)


def label(scores: "Tensor", size: tuple[int, int]) -> tuple["Tensor", "Tensor"]:
    """Return the winning class and its score for every pixel of the scaled picture.

    One class plane is scaled at a time, so the memory needed is that of a few planes whatever the number of classes.
    Equal scores give the lowest class, as argmax does.

    Args:
        scores: (C, h, w) float32, finite, any device.
        size: (H, W) of the result.

    Returns:
        (H, W) int16 classes and (H, W) float32 scores, on the same device.
    """
    import torch
    from torch.nn import functional

    def scaled(planes: "Tensor") -> "Tensor":
        return functional.interpolate(planes[None], size=size, mode="bilinear", align_corners=False)[0]

    if len(scores) <= _FEW or len(scores) * size[0] * size[1] <= _WHOLE:
        best, winners = scaled(scores).max(0)
        return winners.to(torch.int16), best
    winners = torch.zeros(size, dtype=torch.int16, device=scores.device)
    best = torch.full(size, -torch.inf, device=scores.device)
    last = _channels_last(scores)
    wanted = candidates(scores)
    for group in _aligned(wanted, len(scores)) if last else torch.split(wanted, 1):
        layout = torch.channels_last if last else torch.contiguous_format
        planes = scaled(scores[group][None].contiguous(memory_format=layout)[0])
        for index, plane in zip(group.tolist(), planes, strict=True):
            winners.masked_fill_(plane > best, index)
            torch.maximum(best, plane, out=best)
        del planes, plane  # before the next are made
    return winners, best


def _channels_last(scores: "Tensor") -> bool:
    """Tell whether torch scales these planes with its kernel for channels_last, which rounds the last bit differently.

    SegFormer's logits are laid out so when a batch has more than one picture.
    """
    import torch

    return len(scores) > 3 and scores[None].is_contiguous(memory_format=torch.channels_last)


def _aligned(wanted: "Tensor", classes: int) -> "list[Tensor]":
    """Group classes so that the channels_last kernel treats each as it would among all of them.

    It takes whole registers of channels at a time and the odd ones at the end singly, with another rounding. So the
    odd ones stay together at the end, and the others come in whole registers, the last filled up with repetitions.

    Args:
        wanted: (K,) int64, ascending.
        classes: number of all classes, 4 or more.

    Returns:
        Class indices of each group, ascending; together they hold all wanted.
    """
    import torch

    odd = classes % _VECTOR
    if odd < 4 and classes >= _VECTOR:
        odd += _VECTOR  # fewer than four channels would take the other kernel
    rest = torch.arange(classes - odd, classes, device=wanted.device)
    whole = wanted[wanted < classes - odd]
    if len(whole) == 0:
        return [rest]
    whole = torch.cat([whole, whole[-1:].expand(-len(whole) % _VECTOR)])
    return [*torch.split(whole, _VECTOR), rest]
