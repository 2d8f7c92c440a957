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
_WHOLE = 1 << 22
"""Floats. A class volume up to 16 MiB is scaled whole: nothing is to be gained, and torch rounds pictures whose sides
add up to 128 or less differently when they have many planes (its vectorised kernel), which would move the last bit."""


def candidates(scores: "Tensor") -> "Tensor":
    """Return the classes that may win somewhere after bilinear scaling, in ascending order.

    Args:
        scores: (C, h, w) float32, finite.

    Returns:
        (K,) int64 class indices, K >= 1.
    """
    import torch
    from torch.nn import functional

    _, height, width = scores.shape

    def corner(plane: "Tensor", dy: int, dx: int) -> "Tensor":
        return functional.pad(plane, (0, 1, 0, 1), mode="replicate")[..., dy : dy + height, dx : dx + width]

    best = scores.argmax(0)  # (h, w)
    bound = None  # (h, w): some class attains at least this everywhere in the cell right of and below the pixel
    for dy, dx in _CORNERS:
        winner = corner(best[None].float(), dy, dx).long()  # (1, h, w)
        low = torch.stack([_at_corner(scores, winner, ey, ex) for ey, ex in _CORNERS]).amin(0)
        bound = low if bound is None else torch.maximum(bound, low)
    assert bound is not None
    padded = functional.pad(bound[None, None], (1, 0, 1, 0), mode="replicate")
    needed = -functional.max_pool2d(-padded, 2, 1)[0, 0]  # (h, w): the lowest bound of the four cells at a pixel
    needed -= 1e-5 * needed.abs() + 1e-7  # rounding of the interpolation
    return torch.nonzero((scores >= needed).flatten(1).any(1)).flatten()


def _at_corner(scores: "Tensor", classes: "Tensor", dy: int, dx: int) -> "Tensor":
    """Return scores[classes[y, x], y + dy, x + dx], edges repeated: (h, w)."""
    import torch

    _, height, width = scores.shape
    rows = (torch.arange(height, device=scores.device) + dy).clamp_(max=height - 1)[:, None]
    columns = (torch.arange(width, device=scores.device) + dx).clamp_(max=width - 1)[None]
    return scores[classes[0], rows, columns]


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

    if len(scores) * size[0] * size[1] <= _WHOLE:
        best, winners = functional.interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0].max(0)
        return winners.to(torch.int16), best
    winners = torch.zeros(size, dtype=torch.int16, device=scores.device)
    best = torch.full(size, -torch.inf, device=scores.device)
    for index in candidates(scores).tolist():
        plane = functional.interpolate(scores[None, index, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        winners.masked_fill_(plane > best, index)
        torch.maximum(best, plane, out=best)
    return winners, best
