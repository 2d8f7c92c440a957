"""Write finished units in background threads, so that inference does not wait for encoding and disk."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from segkit import storage, threads
from segkit.build.annotate import Encoded, Finished
from segkit.dataset import Dataset, Rejection, confidences
from segkit.dataset.triple import Triple


class Writer:
    """Writes units in order: first all pictures of a unit, then its record. A context manager.

    At most one unit is being written while the next is computed, which bounds memory. A failure is raised by the next
    call of `write` or on exit, and no later unit is recorded.

    Args:
        dataset: the dataset to write to. The caller must hold its lock.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._encoders = ThreadPoolExecutor(threads.at_most(2), "encode")
        # A pool of its own: a unit waits for its encoders, which would deadlock in a shared pool.
        self._recorder = ThreadPoolExecutor(1, "record")
        self._pending: Future[None] | None = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:  # otherwise the failure of a write must not mask the error that is propagating
                self._wait()
        finally:
            self._recorder.shutdown()  # a unit that is finished is recorded, whatever ends the build
            self._encoders.shutdown(cancel_futures=True)

    def write(self, finished: Sequence[Finished | Encoded], rejections: Sequence[Rejection]) -> None:
        """Start writing a unit, after waiting for the previous one.

        Raises:
            StorageError: the previous unit could not be written.
        """
        self._wait()
        self._pending = self._recorder.submit(self._write, finished, rejections)

    def _wait(self) -> None:
        if self._pending:
            self._pending.result()

    def _write(self, finished: Sequence[Finished | Encoded], rejections: Sequence[Rejection]) -> None:
        # list() waits for every picture to be on disk: a record must never refer to a missing file.
        self._dataset.commit(list(self._encoders.map(self._write_pictures, finished)), rejections)
        self._dataset.publish()

    def _write_pictures(self, finished: Finished | Encoded) -> Triple:
        folder, encoded = self._dataset.folder, finished.encoded()
        triple = encoded.triple
        for name, data in encoded.others.items():
            storage.write(folder / name, data)
        confidences.store(folder, triple.key, encoded.confidence)
        pictures = (triple.file_name, encoded.photo), (triple.conditioning_image_file_name, encoded.control_map)
        for name, data in pictures:
            if data:  # a triple that a person removed with its files has none
                storage.write(folder / name, data)
        return triple
