"""Object stores through fsspec: S3, Google Cloud, Azure, the Hugging Face Hub and memory. Imported for URLs only."""

import base64
import os
from pathlib import Path
from typing import Any

from segkit.errors import LocationError
from segkit.remote.digest import PART
from segkit.remote.faults import NoBucketError
from segkit.remote.store import Entry

PACKAGES = {"s3": '"segkit[s3]"', "gs": "gcsfs", "az": "adlfs", "hf": "huggingface_hub", "memory": "fsspec"}
"""What pip must install for each protocol."""


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
        self._sending: dict[str, Any] = {}
        if protocol == "s3":
            self._fs.retries = 1
            self._sending = {"chunksize": PART, "max_concurrency": 2}  # by default ten parts are held in memory
        self._has_buckets, self._buckets = protocol in ("s3", "gs"), set[str]()  # those that exist

    def find(self, path: str, below: bool) -> list[Entry]:
        """See Store."""
        root = self._fs._strip_protocol(path).rstrip("/")
        try:
            infos = self._fs.find(root, detail=True).values() if below else self._fs.ls(root, detail=True)
        except FileNotFoundError:
            infos = ()
        if not infos:
            self._require_bucket(path)
        files = [info for info in infos if info["type"] == "file" and info["name"].startswith(root + "/")]
        return [_entry(info, info["name"][len(root) + 1 :]) for info in files]

    def stat(self, path: str) -> Entry | None:
        """See Store."""
        try:
            info = self._fs.info(path)
        except FileNotFoundError:
            self._require_bucket(path)
            return None
        return _entry(info, "") if info["type"] == "file" else None

    def read(self, path: str, start: int, size: int) -> bytes:
        """See Store."""
        return bytes(self._fs.cat_file(path, start=start, end=start + size)) if size else b""

    def send(self, path: str, content: bytes | Path) -> None:
        """See Store."""
        if isinstance(content, bytes):
            self._fs.pipe_file(path, content, **self._sending)
        else:
            self._fs.put_file(os.fspath(content), path, **self._sending)

    def _require_bucket(self, path: str) -> None:
        """Raise NoBucketError if it is the bucket of a missing file that does not exist."""
        bucket = self._fs._strip_protocol(path).split("/")[0]
        if not self._has_buckets or bucket in self._buckets:
            return
        try:
            self._fs.info(bucket)
        except FileNotFoundError as error:
            raise NoBucketError(bucket) from error
        except PermissionError:
            pass  # whoever may not ask for a bucket may still read its files
        self._buckets.add(bucket)


def _options(protocol: str, silence: float) -> dict[str, Any]:
    """Return the options of a file system. Credentials and endpoints are found by its library's usual ways."""
    if protocol != "s3":
        return {}
    limits = {"connect_timeout": silence, "read_timeout": silence, "retries": {"max_attempts": 0}}
    return {"config_kwargs": limits, "default_block_size": PART}


def _entry(info: dict[str, Any], name: str) -> Entry:
    tag = _tag(info)
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or info.get("created")
    return Entry(name, int(info["size"] or 0), tag or str(info.get("blob_id") or changed or ""), tag)


def _tag(info: dict[str, Any]) -> str:
    """Return the hash that a store computed; "" if it tells none: ETag of S3, MD5 of Google Cloud and Azure."""
    if isinstance(encoded := info.get("md5Hash"), str):
        return base64.b64decode(encoded).hex()
    if isinstance(
        md5 := info.get("content_md5") or (info.get("content_settings") or {}).get("content_md5"), bytes | bytearray
    ):
        return bytes(md5).hex()
    return str(info.get("ETag") or info.get("etag") or "").strip('"')
