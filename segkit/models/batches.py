"""Batched inference; batches shrink when GPU memory runs out."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from segkit.errors import ModelError

Item = TypeVar("Item")
Result = TypeVar("Result")

SMALL_NETWORK = 20_000_000
"""Parameters. On a CPU, batching speeds up smaller networks, where per-call overhead dominates; larger ones only need
more memory."""


def size(batch_size: str, device: str, parameters: int) -> int:
    """Resolve a batch size: a number, or "auto", which is 8 on a GPU and for small networks, otherwise 1."""
    if batch_size != "auto":
        return int(batch_size)
    return 8 if device != "cpu" or parameters < SMALL_NETWORK else 1


def run(network: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], batch: int) -> list[Result]:
    """Run a network over items in batches, halving the batch whenever it does not fit into GPU memory.

    Args:
        network: maps a batch to one result per item.
        items: the inputs.
        batch: items per call to begin with. Once halved, it stays smaller for the remaining items.

    Returns:
        One result per item, in order.

    Raises:
        ModelError: a single item does not fit.
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
                    "The GPU ran out of memory with a single photo. Use a smaller size, a smaller model or device=cpu."
                ) from None
        # Outside the except block: inside, the traceback's frames would still hold the tensors of the failed batch.
        torch.cuda.empty_cache()
        batch //= 2
    return results
