"""Work on a remote store repeated after faults that pass: bounded, with growing, jittered delays."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from segkit.remote.faults import Fault

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How long to bear a store that fails.

    Attributes:
        attempts: requests in all, from 1.
        first: seconds before the second request; each further delay is twice as long.
        longest: most seconds of one delay.
        silence: seconds to wait for an answer, or for its next bytes.
        sleep: waits for some seconds.
        jitter: returns a number from 0 to 1. A delay is between half and all of its length, so that many clients of a
            store that recovers do not return at the same moment.
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 30.0
    silence: float = 60.0
    sleep: Callable[[float], object] = field(default=time.sleep, compare=False, repr=False)
    jitter: Callable[[], float] = field(default=random.random, compare=False, repr=False)

    def delay(self, attempt: int, least: float = 0.0) -> float:
        """Return the seconds to wait after a failed request.

        Args:
            attempt: number of the request, from 1.
            least: seconds that the store asked for; at most `longest` are granted.
        """
        length = min(self.longest, self.first * 2.0 ** (attempt - 1))
        return max(length * (0.5 + self.jitter() / 2), min(least, self.longest))


def retried(work: Callable[[], Result], fault_of: Callable[[Exception], Fault | None], patience: Patience) -> Result:
    """Return the result of work, which is repeated while its faults pass.

    Args:
        work: one or several requests that may be repeated.
        fault_of: translates an exception of the store; None for one that is not the store's.
        patience: how often, and how long to wait.

    Raises:
        LocationError: the fault does not pass, or all attempts failed.
    """
    for attempt in range(1, patience.attempts + 1):
        try:
            return work()
        except Exception as error:
            fault = fault_of(error)
            if fault is None:
                raise
            if not fault.passes or attempt == patience.attempts:
                raise fault.error(attempt) from error
            patience.sleep(patience.delay(attempt, fault.wait))
    raise AssertionError("the last attempt returns or raises")
