"""Keep diffusers' log messages off the terminal, without changing the caller's settings for good."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def diffusers() -> Iterator[None]:
    """Log only errors of diffusers inside the context; restore the previous level at its end."""
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
