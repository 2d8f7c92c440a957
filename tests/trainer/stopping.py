"""A signal that comes just when the line of a step has been written, so that no test has to be quick to hit a run.

python -m tests.trainer.stopping STEP SIGNAL train ...
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def at(step: int, act: Callable[[], None]) -> Callable[..., None]:
    """Return a Journal.write that acts once the line of a step is in the log."""
    from trainer.run.log import RunLog

    write = RunLog.write

    def written(self: Any, number: int, *rest: Any) -> None:
        write(self, number, *rest)
        if number == step:
            act()

    return written


def _main() -> None:
    from segkit import cli
    from trainer.run.log import RunLog

    step, number = int(sys.argv[1]), signal.Signals[sys.argv[2]]
    RunLog.write = at(step, lambda: os.kill(os.getpid(), number))  # type: ignore[method-assign]
    sys.argv = ["segkit", *sys.argv[3:]]
    cli.main()


if __name__ == "__main__":
    _main()
