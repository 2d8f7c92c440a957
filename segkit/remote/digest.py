"""The hashes of a content, to compare it with what a store holds."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

PART = 32 << 20
"""Bytes of a part of an upload in several parts. S3 allows 10,000 parts, so 320 GB a file."""


@dataclass(frozen=True)
class Digest:
    """Hashes of a content.

    Attributes:
        size: bytes.
        sha256: in hex.
        tags: what a store may have computed: the MD5, and S3's ETag of parts of PART bytes (MD5 of their MD5s).
    """

    size: int
    sha256: str
    tags: frozenset[str]


def digest_of(chunks: Iterable[bytes]) -> Digest:
    """Return the hashes of a content.

    Args:
        chunks: its bytes. PART must be a multiple of the length of each but the last.
    """
    whole, sha256, part = _md5(), hashlib.sha256(), _md5()
    parts, size = b"", 0
    for chunk in chunks:
        if size and size % PART == 0:
            parts, part = parts + part.digest(), _md5()
        for digest in (whole, sha256, part):
            digest.update(chunk)
        size += len(chunk)
    parts += part.digest()
    tag = f"{_md5(parts).hexdigest()}-{len(parts) // part.digest_size}"
    return Digest(size, sha256.hexdigest(), frozenset((whole.hexdigest(), tag)))


def _md5(data: bytes = b"") -> "hashlib._Hash":
    return hashlib.md5(data, usedforsecurity=False)
