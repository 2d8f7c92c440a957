"""Freed memory that is kept."""

import platform
import resource
from pathlib import Path

import numpy as np
import pytest

from trainer import allocator

PIECE = 256 << 20
"""Bytes; what glibc gives back to the kernel as soon as it is freed."""


def _taken() -> int:
    """Take a piece of memory, write to all of it and free it; return how many pages the kernel had to clear for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(PIECE, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def _resident() -> int:
    """Return the bytes that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept_and_given_back_at_the_end() -> None:
    """Inside, a second piece costs the kernel next to nothing; afterwards all is given back, what comes next too."""
    before = _resident()

    with allocator.kept():
        first, second = _taken(), _taken()
        held = _resident()
    given_back = _resident()
    _taken()

    assert second < first / 10
    assert held > before + PIECE * 3 // 4
    assert given_back < before + PIECE // 4
    assert _resident() < before + PIECE // 4


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C library is not glibc, nothing is asked of it."""
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("loaded"))

    with allocator.kept():
        pass
