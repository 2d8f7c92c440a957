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


def sampled(network: Any) -> str:
    """Return the hash that has always been part of a picture's recipe."""
    digest = hashlib.sha256()
    for name, weight in network.state_dict().items():
        digest.update(name.encode() + weight.flatten()[:256].float().numpy().tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_formulas_are_the_stored_ones(dtype: torch.dtype) -> None:
    """Caches and pictures of earlier versions stay valid."""
    network = Tiny(dtype)

    assert weights_digest(network) == whole(network)
    assert weights_digest(network, extra={"a": 1}) == whole(network, {"a": 1})
    assert weights_digest(network, sample=256) == sampled(network)


def test_the_values_are_fixed() -> None:
    """The hashes of one network, written down."""
    network = Tiny()

    assert weights_digest(network) == "3970f0e2c247d51f"
    assert weights_digest(network, sample=256) == "c887bf9716db2f2a"


def test_configurations_of_both_libraries_count() -> None:
    """Entries that change the computation are hashed; names, versions and dtypes are not."""
    network = Tiny()
    before = weights_digest(network)

    network.config = Config()  # type: ignore[assignment]
    assert weights_digest(network) == before
    network.config = {"width": 21}
    assert weights_digest(network) != before


def test_a_sample_ends_before_the_last_weights() -> None:
    """Value 256 of a weight changes the whole hash alone, value 255 both."""
    network = Tiny()
    before = weights_digest(network), weights_digest(network, sample=256)

    with torch.no_grad():
        network.second.weight.view(-1)[256] += 1
    assert weights_digest(network) != before[0]
    assert weights_digest(network, sample=256) == before[1]
    with torch.no_grad():
        network.second.weight.view(-1)[255] += 1
    assert weights_digest(network, sample=256) != before[1]
