"""What the C library does with freed memory."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
"""Names of glibc's settings, from its malloc.h; see mallopt(3)."""

_USUAL = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20, _MMAP_MAX: 65536}
"""Where glibc's own adjusting ends, once large pieces were freed."""


@contextmanager
def kept() -> Iterator[None]:
    """Keep freed memory for what is next asked for, and give it back at the end.

    A training step on a CPU takes and frees gigabytes. glibc gives large pieces back to the kernel at once, which must
    clear every page anew: a third of a step's time. Where the C library is another one nothing changes.
    """
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    try:
        if libc:
            libc.mallopt(_MMAP_MAX, 0)
            libc.mallopt(_TRIM_THRESHOLD, -1)
        yield
    finally:
        if libc:
            for name, value in _USUAL.items():
                libc.mallopt(name, value)
            libc.malloc_trim(0)
