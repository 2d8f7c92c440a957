"""One hash for networks: it names caches and is part of a picture's recipe."""

import hashlib
import json
from typing import Any

_IGNORED = ("transformers_version", "dtype", "torch_dtype", "architectures", "model_type")
"""Entries of a configuration that describe its file and the libraries, not the computation."""


def weights_digest(network: Any, *, extra: Any = "") -> str:
    """Return a hash of a network's configuration and all bytes of all weights: 16 hex digits of a SHA-256.

    Networks with equal hashes compute the same. The hash is stored (in the names of caches, in pictures' metadata), so
    it may never change. SHA-256 takes about a second per GB.

    Args:
        network: a network of diffusers or transformers, on any device.
        extra: JSON value hashed with the configuration.
    """
    import torch

    digest = hashlib.sha256(json.dumps([_config(network), extra], sort_keys=True, default=str).encode())
    for name, weight in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)  # bytes: numpy has no bfloat16
    return digest.hexdigest()[:16]


def _config(network: Any) -> dict[str, Any]:
    """Return the configuration that determines the computation (transformers' has to_dict, diffusers' is a mapping)."""
    config = network.config.to_dict() if hasattr(network.config, "to_dict") else dict(network.config)
    return {name: value for name, value in config.items() if not name.startswith("_") and name not in _IGNORED}
