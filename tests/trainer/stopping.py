"""Send a signal to a training right after a step's log line, so that tests do not depend on timing.

python -m tests.trainer.stopping STEP SIGNAL train ...
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def at(step: int, act: Callable[[], None]) -> Callable[..., None]:
    """Return a RunLog.write that calls `act` once the line of a step is in the log."""
    from trainer.run.log import RunLog

    write = RunLog.write

    def write_and_act(self: Any, number: int, *args: Any) -> None:
        write(self, number, *args)
        if number == step:
            act()

    return write_and_act


def _main() -> None:
    from segkit import cli
    from trainer.run.log import RunLog

    step, number = int(sys.argv[1]), signal.Signals[sys.argv[2]]
    RunLog.write = at(step, lambda: os.kill(os.getpid(), number))  # type: ignore[method-assign]
    sys.argv = ["segkit", *sys.argv[3:]]
    cli.main()


if __name__ == "__main__":
    _main()
