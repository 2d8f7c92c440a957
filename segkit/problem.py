"""A problem found in a dataset, a control map or a palette."""

from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "known"]


@dataclass(frozen=True)
class Problem:
    """A finding, ready to be printed or serialised.

    Attributes:
        rule: short name of the violated rule, such as "equal-colours" or "file-missing".
        severity: "error" makes the dataset or palette unusable as it is; "warning" deserves a look; "known" is a
            documented quirk of a shipped palette and never fails a check.
        place: location: a file, a key, a line of a table or class names.
        message: what was found and what was expected.
        cure: what to do or which command to run next; "" if there is nothing to do.
    """

    rule: str
    severity: Severity
    place: str
    message: str
    cure: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the finding as a flat dict of strings, one key per attribute."""
        return asdict(self)


def fails(problems: list[Problem]) -> bool:
    """Return whether any problem counts against the user, that is, is not "known"."""
    return any(problem.severity != "known" for problem in problems)
