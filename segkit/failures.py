"""How a command that fails says so: one line on stderr, an event of --log json, and an object of --json."""

import itertools
import math
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import click

from segkit import console, interrupts, log_lines
from segkit.errors import DatasetError, PhotoError, SegkitError, SettingError, UsageError

MAX_PROBLEMS = 100
"""How many problems are listed before an error's message."""

INTERRUPTED = "Interrupted"
"""Kind of a failure by Ctrl-C or SIGTERM."""

SHADOWED = "Another installed package named 'trainer' shadows segkit's. Install segkit in a separate environment."


@dataclass(frozen=True)
class Failure:
    """Why a command ended early.

    Attributes:
        kind: the name of the error: one of segkit.errors, "Interrupted", or Python's for others.
        message: one line for the user.
        code: the exit code.
        details: further values, such as the setting that is wrong.
    """

    kind: str
    message: str
    code: int
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return kind, message and details."""
        return {"kind": self.kind, "message": self.message, **self.details}


def explain(error: BaseException) -> Failure:
    """Return what an exception means to the user."""
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return Failure(INTERRUPTED, str(error) or "Interrupted.", interrupts.EXIT_CODE)
    if isinstance(error, click.ClickException):
        kind = UsageError.__name__ if isinstance(error, click.UsageError) else type(error).__name__
        return Failure(kind, error.format_message(), error.exit_code)
    kind = type(error).__name__
    if isinstance(error, SegkitError):
        return Failure(kind, str(error), error.exit_code, _details(error))
    if isinstance(error, OSError):
        return Failure(kind, f"Cannot continue: {error}. Fix the cause and run the same command again.", 2)
    if isinstance(error, ModuleNotFoundError):
        return Failure(kind, SHADOWED if is_shadowed(error) else f"{error}. Install segkit again; see README.md", 2)
    reason = str(error).strip().partition("\n")[0]
    return Failure(kind, f"segkit failed: {kind}: {reason}. Add -v to see the traceback.", 2)


def is_shadowed(error: ModuleNotFoundError) -> bool:
    """Return whether an import failed because another distribution's `trainer` comes first on sys.path."""
    return (error.name or "").split(".")[0] == "trainer"


def _details(error: SegkitError) -> dict[str, Any]:
    if isinstance(error, SettingError):
        return {"setting": error.name, "value": _plain(error.value), "expected": error.expected}
    if isinstance(error, PhotoError):
        return {"reason": error.reason}
    if isinstance(error, DatasetError) and error.problems:
        return {"problems": [problem.to_json() for problem in error.problems]}
    return {}


def _plain(value: object) -> object:
    """Return a value that JSON has as it is, others as text: JSON knows neither NaN nor objects."""
    is_plain = isinstance(value, bool | int | str | None) or (isinstance(value, float) and math.isfinite(value))
    return value if is_plain else str(value)


@dataclass(frozen=True)
class Channels:
    """Where a failure is reported; read from the arguments, since it may be the arguments that are wrong.

    Attributes:
        as_json: an object on stdout (--json).
        logs_json: events on stderr (--log json).
        traceback: print it (-v).
    """

    as_json: bool
    logs_json: bool
    traceback: bool

    @classmethod
    def of(cls, arguments: list[str]) -> "Channels":
        """Read the options from a command line."""
        words = arguments[: arguments.index("--")] if "--" in arguments else arguments
        logs_json = "--log=json" in words or ("--log", "json") in itertools.pairwise(words)
        return cls("--json" in words, logs_json, bool({"-v", "--verbose"} & set(words)))

    def format_line(self, message: str) -> str:
        """Return the acknowledgement of a stop as a line on stderr."""
        return log_lines.event("stopping", message=message) if self.logs_json else message

    def report(self, error: BaseException) -> int:
        """Report a failure, and return the exit code."""
        failure = explain(error)
        trace = self.traceback and not isinstance(error, click.ClickException) and failure.kind != INTERRUPTED
        if self.as_json:
            with suppress(BrokenPipeError):
                console.json_object({"error": failure.to_json()})
        if self.logs_json:
            stack: dict[str, Any] = {"traceback": traceback.format_exception(error)} if trace else {}
            click.echo(log_lines.event("error", **failure.to_json(), **stack), err=True)
            return failure.code
        if trace:
            traceback.print_exception(error)
        if isinstance(error, DatasetError) and len(error.problems) > 1:
            console.problems(error.problems, MAX_PROBLEMS, error=True)
        if isinstance(error, click.ClickException):
            error.show()  # with the usage of the command
        else:
            console.line(failure.message, error=True)
        return failure.code

    def end(self, code: int, seconds: float) -> None:
        """Say that the command has ended, if stderr is read by a machine."""
        if self.logs_json:
            click.echo(log_lines.event("end", code=code, seconds=round(seconds, 1)), err=True)
