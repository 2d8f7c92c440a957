"""Every error segkit raises on purpose, drawn as a tree.

SegkitError                 one line for the user: what was found, what was expected, what to type next
├── UsageError              the call cannot work as typed (exit code 2)
│   └── SettingError        a setting of the wrong type or outside its range
├── PaletteError            a table that is no palette, or a name it does not know
├── SheetError              a Google Sheet that is not there, not shared or not answered
├── MapError                a control map that cannot be read or mended
├── PhotoError              one photo that cannot be used; carries a reason from photos.REASONS
├── DatasetError            a folder that is no dataset, or a damaged one
│   └── LockedError         another process is writing it
├── TrainingError           a training that cannot go on; its checkpoints stay
├── ModelError              weights that are missing, do not load or do not fit the palette
└── StorageError            the disk is full or refuses to write; nothing half written remains
"""


class SegkitError(Exception):
    """The root: its text is one line that a user can act on."""

    exit_code = 2


class UsageError(SegkitError):
    """The call cannot work as typed."""


class SettingError(UsageError):
    """A setting has the wrong type or lies outside its range.

    Args:
        name: of the setting.
        value: that was passed.
        expected: the type or range, in words.
    """

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(f"{name} is {value!r}; expected {expected}.")
        self.name, self.value, self.expected = name, value, expected

    def as_option(self) -> str:
        """Return the message for somebody who typed the setting as a command-line option."""
        return f"--{self.name.replace('_', '-')} {self.value}: expected {self.expected}."


class PaletteError(SegkitError):
    """A table that is no palette, or a class name that it does not know."""


class SheetError(SegkitError):
    """A Google Sheet that is not there, not shared, or not answered."""


class MapError(SegkitError):
    """A control map that cannot be read or mended."""


class PhotoError(SegkitError):
    """One photo that cannot be used.

    Args:
        reason: a member of photos.REASONS, the closed list that rejected.jsonl uses.
        message: what was found.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DatasetError(SegkitError):
    """A folder that is no dataset, or a damaged one."""


class LockedError(DatasetError):
    """Another process is writing the dataset."""


class ModelError(SegkitError):
    """Weights that are missing, do not load or do not fit the palette."""


class TrainingError(SegkitError):
    """A training that cannot go on. Its checkpoints stay."""


class StorageError(SegkitError):
    """The disk is full or refuses to write. Nothing half written stands under a final name."""
