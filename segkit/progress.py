"""How long work reports its progress: one callback with one signature, everywhere."""

from typing import Protocol

NOTICE = "notice"
"""Stage of a note that should stay on the screen, such as a guess; its numbers mean nothing."""


STOPPING = "stopping"
"""Stage of the note that Ctrl-C was noticed, which must be seen even where no progress is shown."""


class Progress(Protocol):
    """Called as work advances."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report progress.

        Args:
            stage: what is counted, such as "photos"; a new stage starts a new bar. `NOTICE` and
                `STOPPING` only state their note; the latter comes from a thread of its own.
            done: how many are finished.
            total: how many there are.
            note: words to show beside the numbers, such as a loss.
        """


def go_on() -> None:
    """Let long work continue: what is called between its parts unless the caller may want to stop it."""


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Report nothing."""
