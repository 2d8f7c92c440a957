"""Hashes of weights, which name caches and recipes that are stored, keep their values."""

import hashlib
import json
from typing import Any

import pytest
import torch

from trainer.checkpoints.digest import weights_digest


class Tiny(torch.nn.Module):
    """Two layers with fixed weights and a configuration."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = {"width": 20, "_name_or_path": "here", "torch_dtype": "float32"}
        self.second, self.first = torch.nn.Linear(20, 20), torch.nn.Linear(3, 20)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.arange(weight.numel()).reshape(weight.shape) / 64)
        self.to(dtype)


class Config:
    """A configuration as transformers has it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the entries."""
        return {"width": 20, "transformers_version": "5.0", "model_type": "clip"}


def whole(network: Any, extra: Any = "") -> str:
    """Return the hash that has always named caches."""
    digest = hashlib.sha256(json.dumps([{"width": 20}, extra], sort_keys=True, default=str).encode())
    for name, weight in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_formula_is_the_stored_one(dtype: torch.dtype) -> None:
    """Caches and pictures of earlier versions stay valid."""
    network = Tiny(dtype)

    assert weights_digest(network) == whole(network)
    assert weights_digest(network, extra={"a": 1}) == whole(network, {"a": 1})


def test_the_value_is_fixed() -> None:
    """The hash of one network, written down."""
    network = Tiny()

    assert weights_digest(network) == "3970f0e2c247d51f"


def test_configurations_of_both_libraries_count() -> None:
    """Entries that change the computation are hashed; names, versions and dtypes are not."""
    network = Tiny()
    before = weights_digest(network)

    network.config = Config()  # type: ignore[assignment]
    assert weights_digest(network) == before
    network.config = {"width": 21}
    assert weights_digest(network) != before


@pytest.mark.parametrize("place", [0, 255, 256, 399])
def test_every_value_counts(place: int) -> None:
    """A change anywhere in a weight, by the smallest step of its precision, changes the hash."""
    network = Tiny()
    before = weights_digest(network)

    with torch.no_grad():
        values = network.second.weight.view(-1)
        values[place] = values[place].nextafter(torch.tensor(torch.inf))
    assert weights_digest(network) != before
