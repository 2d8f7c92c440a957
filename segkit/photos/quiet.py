"""Silence Pillow's warnings in any number of threads."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_lock = Lock()
_users = 0
_filters: list[Any] = []


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore Pillow's warnings: they do not name the picture, and one that cannot be used is reported anyway.

    The filter is added for the first of several users and removed after the last. Not warnings.catch_warnings: with
    threads it restores the wrong filters, and it undoes those of libraries that are imported meanwhile.
    """
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            before = list(warnings.filters)
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _filters[:] = [entry for entry in warnings.filters if entry not in before]
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                for entry in _filters:
                    if entry in warnings.filters:  # the caller may have reset them
                        warnings.filters.remove(entry)  # type: ignore[attr-defined]
