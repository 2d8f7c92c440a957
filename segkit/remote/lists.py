"""Several URLs as one text: brace ranges, and list files."""

import re
from itertools import product

from segkit.errors import UsageError
from segkit.remote.faults import shown
from segkit.remote.locations import Location, is_url, location

MOST = 100_000
"""Names that braces may stand for."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expanded(text: str) -> list[str]:
    """Return the names that a text with braces stands for: {000..012} numbers of that width, {a,b} either.

    Raises:
        UsageError: a pair of braces is neither, or there are more than MOST names.
    """
    parts = _BRACES.split(text)
    choices = [[part] if place % 2 == 0 else _choices(part, text) for place, part in enumerate(parts)]
    number = 1
    for choice in choices:
        number *= len(choice)
    if number > MOST:
        raise UsageError(f"{shown(text)} stands for {number:,} names; expected at most {MOST:,}.")
    return ["".join(combination) for combination in product(*choices)]


def _choices(inside: str, text: str) -> list[str]:
    if match := _RANGE.fullmatch(inside):
        first, last = int(match[1]), int(match[2])
        width = len(match[1]) if match[1][0] == "0" else 0
        if first <= last and last - first < MOST:
            return [f"{number:0{width}d}" for number in range(first, last + 1)]
    elif "," in inside:
        return inside.split(",")
    raise UsageError(f"{shown(text)}: {{{inside}}} is no range. Expected braces such as {{000000..000009}} or {{a,b}}.")


def read_list(place: Location) -> list[Location]:
    """Return the files of a list: one a line, a URL or a name relative to the list; "#" begins a comment.

    Raises:
        UsageError: a line is a path out of the list's folder, or the list is not UTF-8.
        LocationError: the list cannot be read.
    """
    try:
        lines = place.read().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"{place} is not a list of URLs: it is not UTF-8 text. Expected one URL a line.") from None
    parent = Location(place.root.partition("?")[0].rpartition("/")[0] or ".", place.patience)
    files = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            try:
                files.append(location(line, place.patience) if is_url(line) else parent / line)
            except UsageError as error:
                raise UsageError(f"{place}, line {number}: {error}") from None
    return files
