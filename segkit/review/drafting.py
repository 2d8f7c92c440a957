"""Prompts drafted again, one at a time: a suggestion, which is stored only when the person stores it."""

import threading
from collections.abc import Callable

from segkit.build.tools import Drafter
from segkit.dataset import prompts
from segkit.dataset.prompts import Style
from segkit.dataset.triple import Triple


class Drafting:
    """A captioner that is loaded when the first draft is asked for. Requests wait for each other.

    Args:
        load: loads the captioner.
        style: how captions become prompts.
    """

    def __init__(self, load: Callable[[], Drafter], style: Style) -> None:
        self._load, self._style = load, style
        self._drafter: Drafter | None = None
        self._lock = threading.Lock()

    def draft(self, triple: Triple) -> str:
        """Return a prompt for a triple's photo and its map as it is now.

        Raises:
            ModelError: the captioner is missing or damaged.
        """
        with self._lock:
            self._drafter = self._drafter or self._load()
            (caption,) = self._drafter([triple.photo])
            return prompts.draft(caption, triple.classes, self._style, self._drafter.count)[0]
