"""How long work reports its progress: one callback with one signature, everywhere."""

from typing import Protocol

NOTICE = "notice"
"""Stage of a note that should stay on the screen, such as a guess; its numbers mean nothing."""


class Progress(Protocol):
    """Called as work advances."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report progress.

        Args:
            stage: what is counted, such as "photos"; a new stage starts a new bar. `NOTICE` only states its note.
            done: how many are finished.
            total: how many there are.
            note: words to show beside the numbers, such as a loss.
        """


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Report nothing."""
