"""Colours as numbers: parsing, formatting, distances."""

import math
import re

RGB = tuple[int, int, int]

BLACK, WHITE = (0, 0, 0), (255, 255, 255)

_HEX = re.compile(r"(?:#|0x)?([0-9a-f]{6})", re.IGNORECASE)
_SHORT_HEX = re.compile(r"#([0-9a-f])([0-9a-f])([0-9a-f])", re.IGNORECASE)
"""Without the # it could be a number."""

_CHANNEL = re.compile(r"0*([0-9]{1,3})(?:[.,]0+)?")
"""Spreadsheets append a fraction of zeros to whole numbers, after a point or a comma."""

_POINTS = r"([0-9]+(?:\.0+)?)"
_COMMAS = r"([0-9]+(?:,0+)?)"
_TRIPLES = [
    re.compile(
        rf"(?:rgb\s*)?[(\[]?\s*{number}\s*{gap}\s*{number}\s*{gap}\s*{number}\s*[)\]]?", re.ASCII | re.IGNORECASE
    )
    for number, gap in ((_POINTS, r"[,;\s]"), (_COMMAS, r"[;\s]"))
]
"""A comma is a separator, or the decimal sign if semicolons or blanks separate."""

_SHOWN = 40
"""Characters of a faulty cell quoted in a message."""


def to_hex(rgb: RGB) -> str:
    """Return the colour as "#RRGGBB"."""
    return "#{:02X}{:02X}{:02X}".format(*rgb)


def parse(text: str) -> RGB:
    """Parse a colour in any common notation.

    Accepted are "#06E6E6", "06E6E6", "0x06E6E6" and "#0F8" (short for "#00FF88"), and three channels such as
    "(6, 230, 230)", "6,230,230", "6 230 230", "rgb(6, 230, 230)", "6.0, 230.0, 230.0" or "6,0; 230,0; 230,0".

    Raises:
        ValueError: the text is in none of these notations, or a channel is outside 0 to 255.
    """
    text = text.strip()
    if match := _HEX.fullmatch(text):
        value = int(match[1], 16)
        return value >> 16, value >> 8 & 255, value & 255
    if match := _SHORT_HEX.fullmatch(text):
        red, green, blue = (int(digit, 16) * 17 for digit in match.groups())
        return red, green, blue
    match = next(filter(None, (pattern.fullmatch(text) for pattern in _TRIPLES)), None)
    if not match:
        raise ValueError(f"{text[:_SHOWN]!r} is not a colour; expected #RRGGBB or (r, g, b)")
    red, green, blue = (channel(part) for part in match.groups())
    return red, green, blue


def channel(text: str) -> int:
    """Parse one channel, 0 to 255, in plain ASCII decimal digits; leading zeros and a fraction of zeros are accepted.

    Raises:
        ValueError: the text has a sign, another fraction, an underscore or a non-ASCII digit, or the value exceeds 255.
    """
    text = text.strip()
    match = _CHANNEL.fullmatch(text)
    if not match or int(match[1]) > 255:
        raise ValueError(f"{text[:_SHOWN]!r} is not a channel value; expected a whole number from 0 to 255")
    return int(match[1])


def distance(a: RGB, b: RGB) -> float:
    """Return the Euclidean (L2) distance of two colours in RGB, 0 to 441.67."""
    return math.dist(a, b)
