"""Datasets on a disk that this user cannot write to: folders and files without write permission, also for root."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OVERRIDES = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: with them, root ignores permissions


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the write permission of a folder tree away, and from root the capability to write nevertheless."""
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & ~0o222)
    try:
        with _without_overrides():
            yield
    finally:
        for path in paths:
            path.chmod(modes[path])


@contextmanager
def _without_overrides() -> Iterator[None]:
    """Drop root's overrides in this thread and those it starts."""
    if os.geteuid() != 0:
        yield
        return
    libc, header, capabilities = ctypes.CDLL(None), _Header(0x20080522, 0), (_Capabilities * 2)()
    assert libc.capget(ctypes.byref(header), capabilities) == 0
    before = capabilities[0].effective
    capabilities[0].effective = before & ~_OVERRIDES
    assert libc.capset(ctypes.byref(header), capabilities) == 0
    try:
        yield
    finally:
        capabilities[0].effective = before
        assert libc.capset(ctypes.byref(header), capabilities) == 0
