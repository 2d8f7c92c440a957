"""One thing that is wrong with a triple or a palette."""

from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "known"]


@dataclass(frozen=True)
class Problem:
    """A finding, ready to be printed or stored.

    Attributes:
        rule: the short name of the rule that found it, such as "equal-colours" or "file-missing".
        severity: "error" breaks the promise, "warning" deserves a look, "known" is a documented quirk of the
            shipped tables and never counts against the user.
        place: where: a file, a key, a line of a table, two class names.
        message: what was found and what was expected.
        cure: what to do or to type next; empty when there is nothing to do.
    """

    rule: str
    severity: Severity
    place: str
    message: str
    cure: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the finding as a flat dict of strings."""
        return asdict(self)


def fails(problems: list[Problem]) -> bool:
    """Tell whether any of the problems is the user's: everything but "known"."""
    return any(problem.severity != "known" for problem in problems)
