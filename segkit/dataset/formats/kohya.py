"""The layout of kohya's sd-scripts: photos with .txt captions in img/, control maps of the same names in cond/."""

from collections.abc import Iterator
from pathlib import Path

from segkit.dataset.formats.listing import Entry
from segkit.errors import DatasetError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def read(folder: Path) -> Iterator[Entry]:
    """Yield the entries of a folder with img/ and cond/, by file name; none without pictures.

    Raises:
        DatasetError: a photo has no control map, or a control map no photo.
    """
    photos, control_maps = (_pictures(folder / name) for name in ("img", "cond"))
    if unpaired := sorted(photos.keys() ^ control_maps.keys()):
        raise DatasetError(f"{folder}: {len(unpaired)} names are only in img/ or only in cond/, such as {unpaired[0]}.")
    for stem, photo in photos.items():
        caption = photo.with_suffix(".txt")
        text = caption.read_text("utf-8").strip() if caption.is_file() else ""
        yield Entry(photo, control_maps[stem], text, str(folder))


def _pictures(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*")) if path.suffix.lower() in _SUFFIXES}
