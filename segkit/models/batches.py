"""Work handed to a network in batches; smaller ones where the GPU's memory does not suffice."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from segkit.errors import ModelError

Item = TypeVar("Item")
Result = TypeVar("Result")

SMALL_NETWORK = 20_000_000
"""Weights. On a CPU batching gains nothing for larger networks and costs memory; smaller ones spend time per call."""


def size(wanted: str, device: str, parameters: int) -> int:
    """Resolve --batch-size: a number, or "auto": 8 on a GPU and for small networks, else 1."""
    if wanted != "auto":
        return int(wanted)
    return 8 if device != "cpu" or parameters < SMALL_NETWORK else 1


def run(network: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], batch: int) -> list[Result]:
    """Run a network over items in batches; a batch that does not fit in the GPU's memory is halved and tried again.

    Raises:
        ModelError: not even one item fits.
    """
    import torch

    results: list[Result] = []
    while len(results) < len(items):
        try:
            results += network(items[len(results) : len(results) + batch])
            continue
        except torch.OutOfMemoryError:
            if batch == 1:
                raise ModelError(
                    "The GPU's memory does not suffice for one photo. Use a smaller --size or model, or --device cpu."
                ) from None
        torch.cuda.empty_cache()  # only here does no traceback hold the batch any more
        batch //= 2
    return results
