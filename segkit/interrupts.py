"""Ctrl-C and SIGTERM on the command line: acknowledged at once; a second Ctrl-C ends the process at once.

Nothing is lost by that: every file is written under a temporary name and renamed (see segkit.storage).
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EXIT_CODE = 130
"""Exit code of an interrupted command, after SIGTERM too."""

STOPPING = "Stopping. Press Ctrl-C again to end at once."

_received: list[int] = []
"""Signals of the last command. They are sent to the process as a whole, and so is this a global."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\x1b[?25h"
_CLEAR_LINE = "\r\x1b[2K"


@contextmanager
def acknowledged(format_line: Callable[[str], str] = str) -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into a KeyboardInterrupt, after a line that acknowledges it.

    A Ctrl-C after that ends the process. A SIGTERM after that changes nothing, because torchrun sends one to processes
    that have received the terminal's Ctrl-C already.

    Args:
        format_line: returns a message in the form of the other lines on stderr, such as JSON.
    """
    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield
        return
    _received.clear()

    def receive(number: int, frame: Any) -> None:
        _received.append(number)
        if len(_received) == 1:
            _write(format_line(STOPPING))
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            _write(format_line("Ended."))
            os._exit(EXIT_CODE)

    previous = {number: signal.signal(number, receive) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def is_lost(error: BaseException) -> bool:
    """Return whether an error took the place of the KeyboardInterrupt.

    Some C libraries replace whatever is raised while they call Python by an error of their own, such as a file that
    cannot be read. What fails while an interrupted command cleans up is another matter: its context is the
    KeyboardInterrupt.
    """
    chain: BaseException | None = error
    while chain and not isinstance(chain, KeyboardInterrupt):
        chain = chain.__context__
    return bool(_received) and chain is None


def _write(text: str) -> None:
    """Write a line to stderr without Python's buffers, which the signal may have interrupted in the middle of a write.

    On a terminal, the line replaces a progress bar, and the cursor that the bar hid appears again.
    """
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    line = f"{_CLEAR_LINE}{_SHOW_CURSOR}{text}\n" if is_terminal else f"{text}\n"
    try:
        os.write(2, line.encode())
    except OSError:  # stderr is closed: nobody is there to read it
        return
