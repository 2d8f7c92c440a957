"""Prompts: composed from caption and class names, counted in CLIP tokens, shortened at clause boundaries, flagged."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segkit.errors import SettingError
from segkit.maps.codec import ClassShare

BUDGET = 77
"""Length of CLIP's context in tokens, start and end token included. Stable Diffusion 1.x ignores what exceeds it."""

FLAGS = {
    "prompt-cut": "the draft exceeded CLIP's 77 tokens and was shortened",
    "prompt-empty": "the captioner returned no caption",
    "prompt-repeats": "the caption repeats itself",
}
"""Flags of a drafted prompt and their meanings; a triple's `problems` holds the names."""

Count = Callable[[str], int]
"""Counts the CLIP tokens of a prompt, start and end token included."""

_PLACEHOLDER = re.compile(r"\{(.*?)\}")
_PHRASE_TWICE = re.compile(r"\b(\w+(?:\W+\w+){1,5})\W+\1\b", re.IGNORECASE)
_WORD_THRICE = re.compile(r"\b(\w+)(?:\W+\1\b){2,}", re.IGNORECASE)
_PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|[^\s\w]|_", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[,;:.]|\s(?=(?:and|with|while|in front of|next to|on|in|at|near|under|behind|by)\s)")
_WORD_END = re.compile(r"\s")


STYLE = ("prefix", "suffix", "template")
"""The settings of a style, by which dataset.toml remembers it."""


@dataclass(frozen=True)
class Style:
    """How to turn a caption into a prompt.

    Attributes:
        prefix, suffix: text before and after, joined with a space; a suffix may begin with punctuation.
        template: text with the placeholders {caption} and {classes} (the names of the map's largest classes).

    Raises:
        SettingError: the template contains an unknown placeholder or an unmatched brace.
    """

    prefix: str = ""
    suffix: str = ""
    template: str = "{caption}"

    def __post_init__(self) -> None:
        unknown = [name for name in _PLACEHOLDER.findall(self.template) if name not in ("caption", "classes")]
        if unknown:
            raise SettingError("template", self.template, f"{{caption}} or {{classes}}, not {{{unknown[0]}}}")
        if set("{}") & set(_PLACEHOLDER.sub("", self.template)):
            raise SettingError("template", self.template, "{caption} or {classes}, without other braces")


def recorded_style(settings: Mapping[str, Any]) -> Style:
    """Return the style that a dataset remembers.

    Args:
        settings: those of dataset.toml.

    Raises:
        SettingError: the template was edited and is invalid now.
    """
    return Style(**{name: str(settings[name]) for name in STYLE if name in settings})


def compose(caption: str, classes: Sequence[ClassShare], style: Style) -> str:
    """Compose a prompt from prefix, filled-in template and suffix; extra spaces and stray commas are removed.

    Args:
        caption: the captioner's text; trailing punctuation is dropped.
        classes: classes of the map, largest first. Up to five that cover at least 5 % of the pixels fill {classes}.
        style: prefix, suffix and template.
    """
    values = {
        "caption": caption.rstrip(" ,;."),
        "classes": ", ".join(share.name for share in classes[:5] if share.share >= 0.05),
    }
    text = _PLACEHOLDER.sub(lambda match: values[match[1]], style.template)
    text = f"{style.prefix} {text} {style.suffix}"
    text = re.sub(r"\s+([,;.])", r"\1", " ".join(text.split()))
    return re.sub(r"([,;])(?:\s*[,;])+", r"\1", text).strip(" ,;")


def shorten(text: str, count: Count, budget: int = BUDGET) -> str:
    """Shorten a prompt to the budget: at the last clause that fits, else at the last word, else within a word.

    Args:
        text: the prompt; returned unchanged if it fits.
        count: counts tokens.
        budget: maximum number of tokens, at least 2 for the start and end token.
    """
    if count(text) <= budget:
        return text
    for ends in (_CLAUSE_END, _WORD_END):
        for match in reversed(list(ends.finditer(text))):
            shorter = text[: match.start()].rstrip(" ,;:.")
            if shorter and count(shorter) <= budget:
                return shorter
    low, high = 0, len(text)  # a single overlong word: find the longest beginning that fits by bisection
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= budget else (low, middle - 1)
    return text[:low]


def flags(caption: str) -> tuple[str, ...]:
    """Return the flags (keys of FLAGS) of a caption as the model returned it; "prompt-cut" is set by `draft` only."""
    if not caption.strip(" .,"):
        return ("prompt-empty",)
    if _PHRASE_TWICE.search(caption) or _WORD_THRICE.search(caption):
        return ("prompt-repeats",)
    return ()


def draft(caption: str, classes: Sequence[ClassShare], style: Style, count: Count) -> tuple[str, int, tuple[str, ...]]:
    """Turn a caption into a prompt within the budget.

    The caption is shortened first; prefix, suffix and class names are shortened only if they do not fit by themselves.

    Returns:
        The prompt, its length in tokens (0 if empty), and its flags (keys of FLAGS).
    """
    problems = flags(caption)
    text = compose(caption, classes, style)
    caption = shorten(caption, lambda part: count(compose(part, classes, style)))
    short = shorten(compose(caption, classes, style), count)  # prefix and suffix alone may be too long
    if short != text:
        problems = (*problems, "prompt-cut")
    return short, count(short) if short else 0, problems


def estimate(text: str) -> int:
    """Estimate the CLIP tokens of a prompt without CLIP's vocabulary, tending to overestimate.

    ASCII words count one token per four letters, rounded up (in CLIP most common English words are one token); digits
    and symbols count one each; other words count one token per UTF-8 byte; start and end token add two.
    """
    return 2 + sum(
        math.ceil(len(piece) / 4) if piece.isascii() else len(piece.encode()) for piece in _PIECES.findall(text)
    )
