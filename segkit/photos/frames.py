"""Pictures of several frames: how many there are, and which one is the photo."""

from io import BytesIO

from PIL import Image


def position(image: Image.Image, data: bytes) -> str:
    """Return which frame of a picture is open, such as "first-frame-of-3" or "frame-2-of-3"; "" if there is only one.

    Args:
        image: the picture, opened but not loaded.
        data: content of its file.
    """
    if image.format == "PSD":  # its frames are layers; the first picture shows all of them
        return ""
    return word(image.tell(), _count(image, data))


def word(index: int, number: int) -> str:
    """Return the word that records frame `index` (from 0) of a number; "" if there is one only."""
    if number <= 1:
        return ""
    return f"frame-{index + 1}-of-{number}" if index else f"first-frame-of-{number}"


def _count(image: Image.Image, data: bytes) -> int:
    """Return the number of frames; 1 if a later one is damaged, so that they cannot be counted."""
    try:
        if image.format == "GIF":  # counting moves through the frames, and only an untouched picture loads reliably
            with Image.open(BytesIO(data), formats=["GIF"]) as other:
                return int(getattr(other, "n_frames", 1))
        return int(getattr(image, "n_frames", 1))
    except Exception:  # as for photos.open_photo, almost anything
        return 1
