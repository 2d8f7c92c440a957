"""The errors that segkit raises deliberately.

SegkitError                 base class; one line: what was found, what was expected, what to do next
├── UsageError              invalid arguments or an impossible request
│   └── SettingError        a setting of the wrong type or outside its range
├── PaletteError            not a valid palette, or an unknown class name
├── SheetError              a Google Sheet is missing, not shared or not responding
├── MapError                a control map cannot be read or repaired
├── PhotoError              a photo cannot be used; carries a reason from photos.REASONS
├── DatasetError            not a dataset, or a damaged one
│   ├── LockedError         another process is writing to the dataset
│   └── ConflictError       a triple was changed meanwhile; carries its present revision
├── TrainingError           training cannot continue; existing checkpoints are kept
├── ModelError              weights are missing, do not load or do not fit the palette
│   └── UnknownModelError   neither a folder nor a name that a model can have
├── EngineError             the engine that distributes the work is missing or fails; finished work is kept
├── LocationError           a folder or URL cannot be read or written; carries a reason
└── StorageError            the disk is full or a write failed; no partial file remains

Messages name settings as in Python, `steps=0`; the command line shows them as its options, `--steps 0`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segkit.problem import Problem


class SegkitError(Exception):
    """Base class. The message is one line that the user can act on; `exit_code` is that of the command line."""

    exit_code = 2


class UsageError(SegkitError):
    """Invalid arguments or an impossible request."""


class SettingError(UsageError):
    """A setting has the wrong type or lies outside its range.

    Args:
        name: of the setting.
        value: that was passed.
        expected: the type or range, in words.
    """

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(f"{name}={_shown(value)}: expected {expected}.")
        self.name, self.value, self.expected = name, value, expected

    def __reduce__(self) -> tuple[object, ...]:  # pickle would pass the message alone to __init__
        return type(self), (self.name, self.value, self.expected)


class PaletteError(SegkitError):
    """Not a valid palette, or an unknown class name."""


class SheetError(SegkitError):
    """A Google Sheet is missing, not shared or not responding."""


class MapError(SegkitError):
    """A control map cannot be read or repaired."""


class PhotoError(SegkitError):
    """A photo cannot be used.

    Args:
        reason: a key of photos.REASONS, or of rejection.REASONS for imported data, as recorded in rejected.jsonl.
        message: what was found.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:  # pickle would pass the message alone to __init__
        return type(self), (self.reason, str(self))


class DatasetError(SegkitError):
    """Not a dataset, or a damaged one.

    Args:
        message: what was found; with several problems, the first of them.
        problems: everything that is wrong, if it was collected.
    """

    def __init__(self, message: str, problems: "Sequence[Problem]" = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class LockedError(DatasetError):
    """Another process is writing to the dataset."""


class ConflictError(DatasetError):
    """A triple was changed meanwhile.

    Args:
        message: what was found.
        revision: the triple's present revision; see segkit.dataset.triple.Edits.
    """

    def __init__(self, message: str, revision: int) -> None:
        super().__init__(message)
        self.revision = revision

    def __reduce__(self) -> tuple[object, ...]:  # pickle would pass the message alone to __init__
        return type(self), (str(self), self.revision)


class ModelError(SegkitError):
    """Weights are missing, do not load or do not fit the palette."""


class UnknownModelError(ModelError):
    """A model's name is neither a folder, nor a short name, nor a hub id."""


class TrainingError(SegkitError):
    """Training cannot continue; existing checkpoints are kept."""


class EngineError(SegkitError):
    """The engine that distributes the work is missing, or fails; finished work is kept."""


class LocationError(SegkitError):
    """A folder or URL cannot be read or written.

    Args:
        reason: the kind of fault, such as "missing" or "forbidden"; see segkit.remote.faults.Reason.
        message: what was found, and what to do next.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:  # pickle would pass the message alone to __init__
        return type(self), (self.reason, str(self))


class StorageError(SegkitError):
    """The disk is full or a write failed; no partial file exists under a final name."""


def _shown(value: object) -> str:
    """Return a value for a message of one line: arrays and tables print over several, and without end."""
    text = repr(value)
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= 200 else f"{text[:200]}..."
