"""Finished units written in the background, so that the network never waits for a picture to be encoded."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from msgspec.structs import replace

from segkit import storage
from segkit.build.annotate import Finished
from segkit.dataset import Dataset, Rejection
from segkit.dataset.triple import Triple


class Writer:
    """Writes units in their order: all pictures of a unit first, then its record. Use it as a context.

    At most one unit is under way while the next is being worked on, so memory does not grow. The first failure is
    raised at the next call or at the end, and nothing is recorded after it.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._encoders = ThreadPoolExecutor(2, "encode")
        self._recorder = ThreadPoolExecutor(1, "record")
        self._under_way: Future[None] | None = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._wait()
        finally:
            self._recorder.shutdown(cancel_futures=True)
            self._encoders.shutdown(cancel_futures=True)

    def write(self, finished: Sequence[Finished], rejections: Sequence[Rejection]) -> None:
        """Begin to write a unit, once the one before is recorded.

        Raises:
            StorageError: the unit before could not be written.
        """
        self._wait()
        self._under_way = self._recorder.submit(self._write, finished, rejections)

    def _wait(self) -> None:
        if self._under_way:
            self._under_way.result()

    def _write(self, finished: Sequence[Finished], rejections: Sequence[Rejection]) -> None:
        self._dataset.commit(list(self._encoders.map(self._write_pictures, finished)), rejections)

    def _write_pictures(self, each: Finished) -> Triple:
        photo, control_map = each.photo_bytes(), each.map_bytes()
        storage.write(self._dataset.folder / each.triple.file_name, photo)
        storage.write(self._dataset.folder / each.triple.conditioning_image_file_name, control_map)
        return replace(each.triple, photo_sha256=storage.sha256(photo), map_sha256=storage.sha256(control_map))
