"""The store of each kind of URL, one for each process."""

import os
from functools import lru_cache

from segkit.remote.store import Store

PROTOCOLS = ("s3", "gs", "az", "https", "http", "hf", "memory")

_ALIASES = {"gcs": "gs", "s3a": "s3", "abfs": "az", "abfss": "az"}


def protocol_of(url: str) -> str:
    """Return the kind of a URL, one of PROTOCOLS for those that are known."""
    scheme = url.partition("://")[0].lower()
    return _ALIASES.get(scheme, scheme)


def store_of(protocol: str, silence: float) -> Store:
    """Return the store of a kind of URL; see segkit.remote.objects for the errors.

    Args:
        protocol: one of PROTOCOLS.
        silence: see Patience.
    """
    return _store(protocol, silence, os.getpid())  # connections do not survive a fork


@lru_cache(16)
def _store(protocol: str, silence: float, process: int) -> Store:
    if protocol in ("https", "http"):
        from segkit.remote.web import Web

        return Web(silence)
    from segkit.remote.objects import Objects  # fsspec is loaded for URLs only

    return Objects(protocol, silence)
