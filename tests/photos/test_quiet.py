"""Pillow's warnings are ignored while pictures are read, and the caller's filters come back."""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from segkit.photos.quiet import quiet_pillow


def warn(module: str) -> None:
    """Issue a warning as if from a module."""
    warnings.warn_explicit("a picture", UserWarning, "file.py", 1, module=module)


def test_only_pillow_is_silenced() -> None:
    """Warnings of Pillow's modules are ignored, those of others are not."""
    with quiet_pillow():
        warn("PIL.Image")
        with pytest.raises(UserWarning, match="a picture"):
            warn("numpy")
    with pytest.raises(UserWarning, match="a picture"):
        warn("PIL.Image")


def test_threads_leave_the_filters_as_they_were() -> None:
    """Users that overlap in any order add one filter, and it is gone after the last."""

    def use(_: int) -> None:
        with quiet_pillow():
            warn("PIL.Image")

    before, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads interrupt each other as often as possible
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(use, range(2_000)))
    finally:
        sys.setswitchinterval(interval)

    assert list(warnings.filters) == before


def test_filters_reset_meanwhile_are_no_error() -> None:
    """A caller may replace all filters while pictures are read."""
    with warnings.catch_warnings():
        with quiet_pillow():
            warnings.resetwarnings()
        assert list(warnings.filters) == []
