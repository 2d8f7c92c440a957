"""Networks that compute the same bits for a picture in a batch as alone.

Libraries choose their kernels by shape, and another kernel sums in another order: the same picture would differ in the
last bit from batch to batch, and after thirty steps in what is seen. On a CPU, few layers are affected (products of the
time embedding, pointwise convolutions from sixteen rows on), so that computing those picture by picture costs little.
Which layers they are is not assumed but measured, for every shape, on every machine.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


class ExactBatches:
    """Calls networks with batches; each picture's result equals that of a batch of one, bit for bit.

    The first batch of a shape is computed both ways. A layer whose results differ is computed picture by picture from
    then on; if the networks' result still differs, so are the networks. Two ways of summing that agree on every value
    of a whole layer are taken to be the same.

    Args:
        networks: used by the models that are called. Their layers are changed in place, and otherwise behave as before.
    """

    def __init__(self, networks: "Iterable[nn.Module]") -> None:
        self._rows = 0
        self._is_exact: dict[Any, bool] = {}
        for network in networks:
            for module in network.modules():
                if next(module.children(), None) is None:
                    module.forward = _Layer(module.forward, self)

    @property
    def rows(self) -> int:
        """Rows of a picture in the batch that is being computed; 0 outside batches."""
        return self._rows

    def __call__(self, model: "Callable[..., Tensor]", rows: int, *inputs: "Tensor | None") -> "Tensor":
        """Return model(*inputs).

        Args:
            model: maps tensors of N rows, or None, to a tensor of N rows.
            rows: rows of one picture, which are together; N is a multiple of it.
            inputs: the first is a tensor.
        """
        import torch

        if inputs[0] is None or len(inputs[0]) == rows:
            return model(*inputs)
        shape = (rows, *(None if tensor is None else tensor.shape for tensor in inputs))
        if shape not in self._is_exact:
            apart = _apart(model, rows, inputs)
            self._is_exact[shape] = torch.equal(self._together(model, rows, inputs), apart)
            return apart
        return (self._together if self._is_exact[shape] else _apart)(model, rows, inputs)

    def _together(self, model: "Callable[..., Tensor]", rows: int, inputs: "Sequence[Tensor | None]") -> "Tensor":
        self._rows = rows
        try:
            return model(*inputs)
        finally:
            self._rows = 0


class _Layer:
    """The forward of a layer with one input, in a batch picture by picture where that changes its result."""

    def __init__(self, forward: "Callable[..., Tensor]", batches: ExactBatches) -> None:
        self._forward, self._batches = forward, batches
        self._is_exact: dict[Any, bool] = {}

    def __call__(self, *inputs: Any, **options: Any) -> "Tensor":
        import torch

        rows = self._batches.rows
        if not rows or options or len(inputs) != 1 or not isinstance(inputs[0], torch.Tensor):
            return self._forward(*inputs, **options)
        shape = (rows, inputs[0].shape)
        if shape not in self._is_exact:
            apart = _apart(self._forward, rows, inputs)
            self._is_exact[shape] = torch.equal(self._forward(*inputs), apart)
            return apart
        return self._forward(*inputs) if self._is_exact[shape] else _apart(self._forward, rows, inputs)


def _apart(model: "Callable[..., Tensor]", rows: int, inputs: "Sequence[Tensor | None]") -> "Tensor":
    """Return the results of the pictures one by one, in one tensor."""
    import torch

    total = next(len(tensor) for tensor in inputs if tensor is not None)
    pictures = [slice(first, first + rows) for first in range(0, total, rows)]
    return torch.cat([model(*(None if tensor is None else tensor[piece] for tensor in inputs)) for piece in pictures])
