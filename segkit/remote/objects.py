"""Object stores through fsspec: S3, Google Cloud, Azure, the Hugging Face Hub and memory. Imported for URLs only."""

import os
import re
from pathlib import Path
from typing import Any

from segkit.errors import LocationError
from segkit.remote.store import Entry

PACKAGES = {"s3": '"segkit[s3]"', "gs": "gcsfs", "az": "adlfs", "hf": "huggingface_hub", "memory": "fsspec"}
"""What pip must install for each protocol."""

PART = 64 << 20
"""Bytes of a part of an upload in several parts; a file of one part has its MD5 as ETag."""

_MD5 = re.compile("[0-9a-f]{32}")


class Objects:
    """A store that fsspec reads and writes.

    Args:
        protocol: a key of PACKAGES.
        silence: see Patience.

    Raises:
        LocationError: the package for the protocol is not installed.
    """

    def __init__(self, protocol: str, silence: float) -> None:
        import fsspec

        try:
            kind = fsspec.get_filesystem_class(protocol)
        except ImportError:
            message = f"{protocol}:// needs a package that is not installed. Run: pip install {PACKAGES[protocol]}"
            raise LocationError("package", message) from None
        # No listing is remembered: a file may change between two calls. Repeating is up to segkit.remote.retry.
        self._fs: Any = kind(**_options(protocol, silence), use_listings_cache=False, skip_instance_cache=True)
        if protocol == "s3":
            self._fs.retries = 1

    def find(self, path: str, below: bool) -> list[Entry]:
        """See Store."""
        root = self._fs._strip_protocol(path).rstrip("/")
        try:
            infos = self._fs.find(root, detail=True).values() if below else self._fs.ls(root, detail=True)
        except FileNotFoundError as error:
            if self._lacks_bucket(path):
                raise
            del error
            return []
        files = [info for info in infos if info["type"] == "file" and info["name"].startswith(root + "/")]
        return [_entry(info, info["name"][len(root) + 1 :]) for info in files]

    def stat(self, path: str) -> Entry | None:
        """See Store."""
        try:
            info = self._fs.info(path)
        except FileNotFoundError:
            return None
        return _entry(info, "") if info["type"] == "file" else None

    def read(self, path: str, start: int, size: int) -> bytes:
        """See Store."""
        return bytes(self._fs.cat_file(path, start=start, end=start + size)) if size else b""

    def send(self, path: str, content: bytes | Path) -> None:
        """See Store."""
        if isinstance(content, bytes):
            self._fs.pipe_file(path, content)
        else:
            self._fs.put_file(os.fspath(content), path)

    def _lacks_bucket(self, path: str) -> bool:
        """Return whether it is the bucket of a path that does not exist."""
        if self._fs.protocol == "memory":
            return False
        bucket = self._fs._strip_protocol(path).split("/")[0]
        try:
            return not self._fs.exists(bucket)
        except FileNotFoundError:
            return True


def _options(protocol: str, silence: float) -> dict[str, Any]:
    """Return the options of a file system. Credentials and endpoints are found by its library's usual ways."""
    if protocol != "s3":
        return {}
    limits = {"connect_timeout": silence, "read_timeout": silence, "retries": {"max_attempts": 0}}
    return {"config_kwargs": limits, "default_block_size": PART}


def _entry(info: dict[str, Any], name: str) -> Entry:
    tag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    version = tag or str(
        info.get("sha256") or info.get("mtime") or info.get("LastModified") or info.get("created") or ""
    )
    return Entry(name, int(info["size"] or 0), version, _md5(info, tag))


def _md5(info: dict[str, Any], tag: str) -> str:
    """Return the MD5 that a store computed: S3's ETag of an upload in one part, md5Hash of Google Cloud."""
    if _MD5.fullmatch(tag):
        return tag
    return ""
