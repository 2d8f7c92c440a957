"""models.batches: batched inference, with smaller batches when memory runs out."""

from collections.abc import Sequence

import pytest
import torch

from segkit.errors import ModelError
from segkit.models import batches


@pytest.mark.parametrize("fits", [1, 2, 3, 8])
def test_batches_shrink_until_they_fit(fits: int) -> None:
    """A batch that does not fit is halved, and every item is processed once, in order."""
    sizes = []

    def network(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        if len(items) > fits:
            raise torch.OutOfMemoryError
        return [item * 10 for item in items]

    results = batches.run(network, range(11), 8)

    assert results == [item * 10 for item in range(11)]
    assert max(sizes) == 8


def test_one_item_that_does_not_fit_is_reported() -> None:
    """If a single photo does not fit, the message names the options that help."""

    def network(items: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError

    with pytest.raises(ModelError, match=r"memory.*smaller size.*device=cpu"):
        batches.run(network, [1, 2, 3], 4)


@pytest.mark.parametrize(
    ("batch_size", "device", "parameters", "size"),
    [("3", "cpu", 10**9, 3), ("auto", "cpu", 10**9, 1), ("auto", "cpu", 10**5, 8), ("auto", "cuda", 10**9, 8)],
)
def test_the_size_is_resolved(batch_size: str, device: str, parameters: int, size: int) -> None:
    """A number is used as it is; auto batches on a GPU and for small networks."""
    assert batches.size(batch_size, device, parameters) == size
