"""Compare a checkpoint's tensors with what a network expects, and check every value."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segkit.errors import ModelError
from segkit.words import count
from trainer.checkpoints import layers
from trainer.checkpoints.identify import POSITION_IDS, Identity
from trainer.checkpoints.safe_load import Tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Faults:
    """What is wrong with a checkpoint's tensors.

    Attributes:
        missing: expected names that are absent.
        extra: names that the network does not have.
        shapes: name, actual and expected shape, as text, of each tensor of wrong shape.
        broken: tensors with NaN or infinite values.
        integers: tensors that should be floating point and are not.
        zero: weights that are zero throughout, which training does not leave.
        constant: weights that have one value throughout, which training does not leave either.
    """

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Summarise the faults in one line; "" for none."""
        groups = {
            "missing": self.missing,
            "of wrong shape": self.shapes,
            "not part of this network": self.extra,
            "NaN or infinite": self.broken,
            "not floating point": self.integers,
            "all zero": self.zero,
            "of a single value": self.constant,
        }
        return "; ".join(
            f"{count(len(names), 'tensor')} {fault}, such as {names[0]}" for fault, names in groups.items() if names
        )


def faults(
    tensors: Mapping[str, "Tensor"], expected: Mapping[str, Sequence[int]], prefix: str = "", values: bool = True
) -> Faults:  # fmt: skip
    """Compare a checkpoint's tensors with the weights of a network, and check every value.

    Args:
        tensors: the checkpoint's tensors.
        expected: shape of each weight by its name in the checkpoint; empty checks the values only.
        prefix: prefix of the network's names; other tensors are ignored.
        values: check them too; without, of a safetensors file only the header is read.
    """
    import torch

    names = {name for name in tensors if name.startswith(prefix) and not name.endswith(POSITION_IDS)}
    shapes, broken, integers, flat = [], [], [], {}
    for name in sorted(names):
        weight = tensors[name]
        if not weight.is_floating_point() or weight.layout is not torch.strided:
            integers.append(name)
        elif values and weight.numel():
            low, high = (float(bound) for bound in weight.aminmax())  # NaN if any value is
            if not math.isfinite(low) or not math.isfinite(high):
                broken.append(name)
            elif low == high and layers.is_learned(name, weight):
                flat[name] = low
        if name in expected and tuple(weight.shape) != tuple(expected[name]):
            shapes.append(f"{name} {tuple(weight.shape)} instead of {tuple(expected[name])}")
    return Faults(
        tuple(sorted(set(expected) - names)),
        tuple(sorted(names - set(expected))) if expected else (),
        tuple(shapes),
        tuple(broken),
        tuple(integers),
        tuple(name for name in layers.unexplained_zeros(flat, names)),
        tuple(name for name, value in flat.items() if value and not layers.is_zero_initialised(name)),
    )


def require(
    tensors: Tensors, expected: Mapping[str, Sequence[int]], identity: Identity, values: bool = True
) -> None:  # fmt: skip
    """Refuse a checkpoint whose tensors differ from the weights of the network to be loaded.

    Args:
        tensors: the checkpoint's tensors.
        expected: shape of each weight by its name in the checkpoint.
        identity: what the checkpoint was identified as.
        values: check them too: see `faults`.

    Raises:
        ModelError: weights are missing, unexpected, of wrong shape or not finite.
    """
    report = faults(tensors, expected, identity.prefix, values)
    if not (text := report.sentence()):
        return
    if report.shapes:
        cure = "Its size differs from the base's; use a ControlNet made for this base."
    elif report.broken:
        cure = "The file is damaged or its training diverged; use another."
    elif report.zero or report.constant:
        cure = "No training leaves such weights: the file is a placeholder or damaged; use another."
    else:
        cure = "The file is incomplete or belongs to another network; download it again."
    raise ModelError(f"{tensors.path}: {identity.sentence} {text}. {cure}")
