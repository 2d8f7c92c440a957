"""One photo is read, hashed and decoded: what every engine does to it, in a thread or in another process."""

from collections.abc import Callable

from segkit import photos, storage
from segkit.build.arrival import Loaded
from segkit.dataset import Rejection
from segkit.errors import PhotoError
from segkit.photos import Limits, near_duplicates


def load_photo(
    read: Callable[[], bytes], source: str, limits: Limits, is_decided: Callable[[str, str], bool]
) -> Loaded:
    """Read a photo, and decode it if no earlier run has decided about it.

    Args:
        read: returns its bytes.
        source: the name that the dataset records.
        limits: sizes to accept and to produce.
        is_decided: whether an earlier run has decided about a source and a SHA-256; then the outcome is None.
    """
    digest = ""
    try:
        data = read()
        digest = storage.sha256(data)
        if is_decided(source, digest):
            return Loaded(source, digest, None)
        photo = photos.open_photo(data, limits)
        phash, grey = near_duplicates.perceptual_hash(photo.image), near_duplicates.grey_copy(photo.image)
        return Loaded(source, digest, photo, phash, grey)
    except PhotoError as error:
        return Loaded(source, digest, Rejection(source, digest, error.reason, str(error)))
