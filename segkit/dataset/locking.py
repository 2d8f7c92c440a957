"""One writer at a time: a dataset's lock, and folders that cannot become a dataset."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from segkit import storage
from segkit.errors import DatasetError, StorageError


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a dataset's lock. If no dataset was created meanwhile, the folder is removed again.

    Yields:
        Whether the previous holder was killed; see storage.locked.

    Raises:
        LockedError: another process holds it.
        DatasetError: the folder contains something other than a dataset.
    """
    hidden = folder / ".segkit"
    if not (hidden / "dataset.toml").exists():
        refuse_other_folder(folder)
    storage.make_folder(hidden)
    with storage.locked(hidden / "lock") as was_killed:
        try:
            yield was_killed
        finally:
            if not (hidden / "dataset.toml").exists():
                with suppress(OSError):
                    (hidden / "lock").unlink(missing_ok=True)
                    hidden.rmdir()
                    folder.rmdir()


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep other processes from writing a dataset while it is read. A read-only dataset is read without a lock.

    Raises:
        LockedError: another process is writing it.
        DatasetError: the folder contains something other than a dataset.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except StorageError as error:
            if not storage.is_read_only(error):
                raise
            storage.require_unlocked(folder / ".segkit" / "lock")
        yield


def refuse_other_folder(folder: Path) -> None:
    """Refuse a folder that contains other files.

    Raises:
        DatasetError: the path is a file, or a folder with visible content that is not a dataset.
    """
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file. Choose a new output folder.")
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise DatasetError(f"{folder} is not a segkit dataset, and not empty. Choose a new output folder.")
