"""Numbers, lists, times and commands as they appear in messages and records."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from os import PathLike

_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
"""Seconds and names of units of time, each with the next smaller one."""


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


def data_size(number: int) -> str:
    """Return a number of bytes in a fitting unit of powers of 1000, such as "100 kB" or "1.5 GB", as settings take it.

    It has three digits, rounded up, so that what exceeds a limit of three digits does not look like it.
    """
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 1000)):
        if number >= size:
            digits = max(0, 3 - len(str(number // size)))
            value = -(-number * 10**digits // size) / 10**digits
            return f"{value:.12g} {unit}"
    return f"{number} B"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: "under 1 s", "45 s", "1 min 57 s", "2 h 5 min" or "3 d 4 h"."""
    whole = round(seconds)
    for size, name, smaller, part in _UNITS:
        if whole >= size:
            return f"{whole // size:,} {name} {whole % size // smaller} {part}"
    return f"{whole} s" if whole else "under 1 s"


def timestamp(moment: datetime | None = None) -> str:
    """Return a moment, by default now, in ISO 8601: UTC, with milliseconds, such as "2026-05-04T12:03:10.250Z"."""
    moment = moment or datetime.now(UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def quote(path: str | PathLike[str]) -> str:
    """Return a path as a shell needs it in a command that can be copied."""
    return shlex.quote(str(path))
