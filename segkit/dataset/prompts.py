"""Prompts put together from caption and class names, counted, cut at a clause where too long, and flagged."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segkit.errors import UsageError
from segkit.maps.codec import ClassShare

BUDGET = 77
"""CLIP's positions, its two end tokens counted. What lies beyond is cut off by every Stable Diffusion 1.x."""

FLAGS = {
    "prompt-cut": "the draft was longer than CLIP's 77 tokens and was cut at a clause",
    "prompt-empty": "the captioner said nothing",
    "prompt-repeats": "the caption repeats itself",
}
"""What can be wrong with a drafted prompt, as a triple's `problems` name it."""

Count = Callable[[str], int]
"""Counts a prompt's CLIP tokens, both ends included."""

_PLACEHOLDER = re.compile(r"\{(.*?)\}")
_PHRASE_TWICE = re.compile(r"\b(\w+(?:\W+\w+){1,5})\W+\1\b", re.IGNORECASE)
_WORD_THRICE = re.compile(r"\b(\w+)(?:\W+\1\b){2,}", re.IGNORECASE)
_PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|[^\s\w]|_", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[,;:.]|\s(?=(?:and|with|while|in front of|next to|on|in|at|near|under|behind|by)\s)")
_WORD_END = re.compile(r"\s")


@dataclass(frozen=True)
class Style:
    """How a prompt is made of a caption.

    Attributes:
        prefix, suffix: put before and after, joined with a blank or as written when they bring punctuation.
        template: may hold {caption} and {classes}, the larger classes of the map by name.

    Raises:
        UsageError: the template names anything else, or has a brace without its partner.
    """

    prefix: str = ""
    suffix: str = ""
    template: str = "{caption}"

    def __post_init__(self) -> None:
        unknown = [name for name in _PLACEHOLDER.findall(self.template) if name not in ("caption", "classes")]
        if unknown:
            raise UsageError(f"--template: {{{unknown[0]}}} is unknown. Expected {{caption}} and {{classes}}.")
        if set("{}") & set(_PLACEHOLDER.sub("", self.template)):
            raise UsageError("--template: a brace lacks its partner. Expected {caption} and {classes}.")


def compose(caption: str, classes: Sequence[ClassShare], style: Style) -> str:
    """Make the prompt: prefix, template filled in, suffix; blanks and stray commas tidied.

    Args:
        caption: what the captioner said.
        classes: of the map, largest first; those with 5 % of the pixels or more, at most five, fill {classes}.
        style: how to put it together.
    """
    words = {
        "caption": caption.rstrip(" ,;."),
        "classes": ", ".join(share.name for share in classes[:5] if share.share >= 0.05),
    }
    text = _PLACEHOLDER.sub(lambda match: words[match[1]], style.template)
    text = f"{style.prefix} {text} {style.suffix}"
    text = re.sub(r"\s+([,;.])", r"\1", " ".join(text.split()))
    return re.sub(r"([,;])(?:\s*[,;])+", r"\1", text).strip(" ,;")


def shorten(text: str, count: Count, budget: int = BUDGET) -> str:
    """Cut a prompt that is over the budget at the last clause that fits, or else at the last word."""
    if count(text) <= budget:
        return text
    for ends in (_CLAUSE_END, _WORD_END):
        for match in reversed(list(ends.finditer(text))):
            shorter = text[: match.start()].rstrip(" ,;:.")
            if shorter and count(shorter) <= budget:
                return shorter
    low, high = 0, len(text)  # one endless word: as many letters as fit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= budget else (low, middle - 1)
    return text[:low]


def flags(caption: str) -> tuple[str, ...]:
    """Name what is wrong with a caption as the model gave it."""
    if not caption.strip(" .,"):
        return ("prompt-empty",)
    if _PHRASE_TWICE.search(caption) or _WORD_THRICE.search(caption):
        return ("prompt-repeats",)
    return ()


def draft(caption: str, classes: Sequence[ClassShare], style: Style, count: Count) -> tuple[str, int, tuple[str, ...]]:
    """Turn a caption into a prompt within the budget: the caption is cut, prefix and suffix stay if they can.

    Returns:
        The prompt, its length in tokens, and the flags (members of FLAGS).
    """
    found = flags(caption)
    text = compose(caption, classes, style)
    caption = shorten(caption, lambda part: count(compose(part, classes, style)))
    short = shorten(compose(caption, classes, style), count)  # prefix and suffix alone may be too long
    if short != text:
        found = (*found, "prompt-cut")
    return short, count(short) if short else 0, found


def estimate(text: str) -> int:
    """Estimate a prompt's CLIP tokens without CLIP's vocabulary: cautious, so rather too many than too few.

    A word counts one for each four letters begun, a digit or sign one, a letter beyond ASCII one for each of its UTF-8
    bytes, and the two ends two. (CLIP has most common English words as one token.)
    """
    return 2 + sum(
        math.ceil(len(piece) / 4) if piece.isascii() else len(piece.encode()) for piece in _PIECES.findall(text)
    )
