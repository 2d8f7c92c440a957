"""What processes must have in common, weights and files, and what they need not: the disk of a cache."""

import json
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from accelerate import Accelerator

from segkit import storage
from segkit.errors import StorageError
from trainer.checkpoints import store
from trainer.step import cards, meeting
from trainer.step.distributed import on_main, together


def require_same(accelerator: Accelerator, values: Callable[[], Mapping[str, str]], cure: str) -> None:
    """Refuse to train with processes that differ; all processes must call this.

    Args:
        accelerator: the processes.
        values: returns what must be the same in all, by name; not called for a single process.
        cure: what to do about a difference, as a sentence.

    Raises:
        UsageError: a process differs from the first.
        TrainingError: another process failed or was lost.
    """
    if accelerator.num_processes == 1:
        return
    text = json.dumps({"host": socket.gethostname(), "values": values()})
    texts = meeting.exchange(accelerator.process_index, accelerator.num_processes, text)
    cards.require_equal({rank: json.loads(text) for rank, text in enumerate(texts)}, cure)


def require_shared(accelerator: Accelerator, path: Path) -> None:
    """Refuse to train if a file of the run folder is not the same on all machines; all processes must call this.

    Raises:
        UsageError: a process finds no such file, or another one.
    """

    def content() -> dict[str, str]:
        return {path.name: store.digest(path)[:16] if path.is_file() else f"missing at {path}"}

    require_same(accelerator, content, "Put the run folder on a disk that all machines share, or copy it to each.")


def sharers(accelerator: Accelerator, folder: Path) -> list[int]:
    """Return the ranks of the processes to which a path is the same folder, in order; all processes must call this.

    Machines without a common disk have a folder of that name each. One that sees another's files late, as network file
    systems may let it, counts as having a folder of its own.

    Args:
        accelerator: the processes.
        folder: created if it is missing. One in which nothing can be written may be full of what others wrote; it
            counts as a folder of this process.
    """
    rank = accelerator.process_index
    if accelerator.num_processes == 1:
        return [rank]
    token = on_main(accelerator, lambda: secrets.token_hex(8))
    mark = folder / f"{storage.TEMPORARY}{token}-{rank}"
    with together(accelerator), suppress(OSError, StorageError):
        storage.make_folder(folder)
        mark.touch()
    with together(accelerator):
        ranks = {int(path.name.rpartition("-")[2]) for path in folder.glob(f"{storage.TEMPORARY}{token}-*")}
    with suppress(OSError):
        mark.unlink(missing_ok=True)
    return sorted(ranks | {rank})
