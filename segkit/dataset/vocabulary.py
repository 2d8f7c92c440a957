"""The names of a palette's classes, found in prompts."""

import re

import numpy as np
from numpy.typing import NDArray

from segkit.palette import Palette, simplify

_WORDS = re.compile(r"[^\W_]+")

_LOWER = bytes(ord(chr(code).lower()) if chr(code).isalnum() else ord(" ") for code in range(128)).ljust(256)
"""Capitals become small letters, and what is neither letter nor digit a blank."""

Words = tuple[str, ...]
Classes = frozenset[str]


class Vocabulary:
    """The names of classes, found in texts. Each is a phrase of one or several words, with a number.

    Args:
        palette: the classes; synonyms and plurals are understood.
    """

    def __init__(self, palette: Palette) -> None:
        meanings: dict[Words, set[str]] = {}
        for swatch in palette:
            for name in (swatch.name, *swatch.synonyms):
                words = tuple(_WORDS.findall(simplify(name)))
                for form in (words, (*words[:-1], f"{words[-1]}s")) if words else ():
                    meanings.setdefault(form, set()).add(swatch.name)
        self._phrases: dict[str, list[tuple[Words, int]]] = {}
        self._names: list[Classes] = []
        for number, (words, names) in enumerate(sorted(meanings.items(), key=lambda pair: -len(pair[0]))):
            self._phrases.setdefault(words[0], []).append((words, number))
            self._names.append(frozenset(names))
        self._simple = {word: phrases[0][1] for word, phrases in self._phrases.items() if len(phrases[0][0]) == 1}
        self._beginnings = frozenset(self._phrases.keys() - self._simple.keys())
        ids = {swatch.name: swatch.index for swatch in palette}
        self._counts = np.array([len(names) for names in self._names], np.intp)
        self._classes = np.array([ids[name] for names in self._names for name in names], np.intp)
        self._starts = np.cumsum(self._counts) - self._counts

    def phrases(self, text: str) -> list[int]:
        """Return the number of each phrase of a text that names a class, in their order."""
        words = _words(text)
        if self._beginnings.isdisjoint(words):  # no name of several words, which is slower to tell
            simple = self._simple
            return [simple[word] for word in words if word in simple]
        result, beyond = [], 0
        for place in [place for place, word in enumerate(words) if word in self._phrases]:
            for phrase, number in self._phrases[words[place]] if place >= beyond else ():
                if len(phrase) == 1 or tuple(words[place : place + len(phrase)]) == phrase:
                    result.append(number)
                    beyond = place + len(phrase)
                    break
        return result

    def meanings(self, phrases: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the classes that each of many phrases may mean.

        Args:
            phrases: their numbers, (phrases,).

        Returns:
            Two arrays of the same length, one value for each meaning: its place among the phrases, and the palette
            index of the class.
        """
        counts = self._counts[phrases]
        places = np.repeat(np.arange(len(phrases)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return places, self._classes[self._starts[phrases][places] + within]

    def named(self, text: str) -> list[Classes]:
        """Return, for each class that a text names, the classes that the word may mean."""
        return [self._names[number] for number in self.phrases(text)]


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case. ASCII, which nearly all prompts are, takes a third of the time."""
    return text.encode().translate(_LOWER).decode().split() if text.isascii() else _WORDS.findall(text.lower())
