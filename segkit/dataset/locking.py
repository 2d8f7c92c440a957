"""One writer at a time: a dataset's lock, and folders that cannot become a dataset."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segkit import locks, storage
from segkit.errors import DatasetError, UsageError
from segkit.remote import is_url, location


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a dataset's lock. If no dataset was created meanwhile, the folder is removed again.

    Yields:
        Whether the previous holder was killed; see locks.locked.

    Raises:
        LockedError: another process holds it.
        StorageError: the disk is read-only, or its file system cannot rename files.
        DatasetError: the folder contains something other than a dataset.
    """
    hidden = folder / ".segkit"
    if not (hidden / "dataset.toml").exists():
        refuse_other_folder(folder)
    storage.make_folder(hidden)
    with locks.locked(hidden / "lock") as was_killed:
        try:
            yield was_killed
        finally:
            if not (hidden / "dataset.toml").exists():
                with suppress(OSError):
                    (hidden / "lock").unlink(missing_ok=True)
                    hidden.rmdir()
                    folder.rmdir()


def writer(folder: Path) -> str:
    """Return the process that is writing a dataset, in words; "" if there is none.

    The lock itself is not touched: asking for it, even for a moment, could make a writer give up. Readers never need
    it, since pictures are stored before the records that name them, and records are replaced as a whole.
    """
    return locks.holder(folder / ".segkit" / "lock")


def local_folder(output: str | Path) -> Path:
    """Return the folder that a dataset is written to, which must be local: its guarantees are those of a file system.

    Raises:
        UsageError: it is a URL.
    """
    if is_url(output):
        raise UsageError(
            f"{location(output)}: a dataset is written to a local folder. Choose one; segkit export writes it to a URL."
        )
    return Path(output)


def refuse_other_folder(folder: Path) -> None:
    """Refuse a folder that contains other files.

    Raises:
        DatasetError: the path is a file, or a folder with visible content that is not a dataset.
    """
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file. Choose a new output folder.")
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise DatasetError(f"{folder} is not a segkit dataset, and not empty. Choose a new output folder.")
