"""Hashes of networks: one over everything for cache names, one over a sample of each weight for pictures' recipes."""

import hashlib
import json
from typing import Any

_IGNORED = ("transformers_version", "dtype", "torch_dtype", "architectures", "model_type")
"""Entries of a configuration that describe its file and the libraries, not the computation."""


def weights_digest(network: Any, *, sample: int | None = None, extra: Any = "") -> str:
    """Return a hash of a network's weights: 16 hex digits of a SHA-256.

    Both forms are stored (in the names of caches, in pictures' metadata), so neither may ever change.

    Args:
        network: a network of diffusers or transformers, on any device.
        sample: None hashes the configuration and all bytes of all weights, so that networks with equal hashes compute
            the same. A number hashes only that many leading values of each weight, converted to float32: much
            faster, and enough to distinguish trained networks.
        extra: JSON value hashed with the configuration; unused with `sample`.
    """
    import torch

    weights = network.state_dict()
    if sample is not None:
        digest = hashlib.sha256()
        for name, weight in weights.items():
            digest.update(name.encode() + weight.flatten()[:sample].float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]
    digest = hashlib.sha256(json.dumps([_config(network), extra], sort_keys=True, default=str).encode())
    for name, weight in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)  # bytes: numpy has no bfloat16
    return digest.hexdigest()[:16]


def _config(network: Any) -> dict[str, Any]:
    """Return the configuration that determines the computation (transformers' has to_dict, diffusers' is a mapping)."""
    config = network.config.to_dict() if hasattr(network.config, "to_dict") else dict(network.config)
    return {name: value for name, value in config.items() if not name.startswith("_") and name not in _IGNORED}
