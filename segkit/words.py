"""Numbers, lists and commands as they appear in messages."""

import shlex
from collections.abc import Sequence
from os import PathLike


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 map" or "1,200 maps"."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def are(number: int, noun: str) -> str:
    """Return a number with its noun and verb, such as "1 map is" or "1,200 maps are"."""
    return f"{count(number, noun)} {'is' if number == 1 else 'are'}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names joined by commas; of more than `most`, the first, and how many more there are."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"


def quote(path: str | PathLike[str]) -> str:
    """Return a path as a shell needs it in a command that can be copied."""
    return shlex.quote(str(path))
