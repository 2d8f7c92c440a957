"""The layout of kohya's sd-scripts: photos with captions in img/, control maps of the same names in cond/.

Captions are NAME.txt or NAME.caption beside the photo. Both folders may hold subfolders such as 10_rooms. Written,
held-out triples lie in folders val/ and test/ of the same layout, since sd-scripts trains on all that img/ holds.
"""

import math
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from segkit import photos
from segkit.dataset.formats.listing import Entry, Listing
from segkit.dataset.formats.writing import Chunks, Content, Item, split_folder
from segkit.errors import DatasetError
from segkit.words import count

FOLDERS = ("img", "cond")
"""Folders of photos and of control maps."""

_CAPTION_SUFFIXES = (".txt", ".caption")


def detect(folder: Path) -> bool:
    """Return whether a folder has this layout: img/ and cond/."""
    return all((folder / name).is_dir() for name in FOLDERS)


def read(folder: Path) -> Listing:
    """Read a folder with img/ and cond/, by file name.

    Raises:
        DatasetError: a photo has no control map, a control map no photo, two files have one name, or a caption is not
            UTF-8.
    """
    by_name, control_maps = (pictures(folder / name) for name in FOLDERS)
    if unpaired := sorted(by_name.keys() ^ control_maps.keys()):
        name = unpaired[0]
        lacking = (
            f"{by_name[name]} has no map in cond/" if name in by_name else f"{control_maps[name]} has no photo in img/"
        )
        raise DatasetError(
            f"{folder}: {count(len(unpaired), 'file')} without a counterpart of the same name: {lacking}. Add or "
            "remove it."
        )
    texts = captions(folder / "img")
    entries, longer = [], 0
    for name, photo in by_name.items():
        text, is_longer = caption(texts.get(name, []))
        longer += is_longer
        entries.append(Entry(photo, control_maps[name], text, str(folder)))
    return Listing("kohya", tuple(entries), tuple(notes(by_name, longer)))


def notes(names: Iterable[str], longer: int) -> Iterable[str]:
    """Yield what a user should know about captions and folder names, as sentences.

    Args:
        names: relative paths of the photos without suffix.
        longer: number of captions of several lines.
    """
    if longer:
        yield f"Captions of several lines, of which the first is used: {longer:,}."
    repeats = {name.partition("/")[0] for name in names if "/" in name and name.partition("_")[0].isdigit()}
    if repeats:
        yield f"Repeats in folder names such as {min(repeats)} are ignored: an epoch shows every photo once."


def pictures(folder: Path) -> dict[str, Path]:
    """Return the pictures below a folder by relative path without suffix.

    Raises:
        DatasetError: two pictures differ only in their suffix.
    """
    pictures: dict[str, Path] = {}
    for path in photos.find(folder, follow_links=True):
        name = _name(path, folder)
        other = pictures.setdefault(name, path)
        if other is not path:
            raise DatasetError(f"{other} and {path.name} share one name, so one caption and map. Rename one of them.")
    return pictures


def _name(path: Path, folder: Path) -> str:
    """Return the name by which files belong together; macOS writes accents as characters of their own."""
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


def captions(folder: Path) -> dict[str, list[Path]]:
    """Return the caption files below a folder by relative path without suffix, whatever the case of their suffix."""
    captions: dict[str, list[Path]] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            path = Path(place, file)
            if path.suffix.lower() in _CAPTION_SUFFIXES and not file.startswith("."):
                captions.setdefault(_name(path, folder), []).append(path)
    return captions


def caption(files: list[Path]) -> tuple[str, bool]:
    """Return a photo's caption, and whether its file has more lines, which sd-scripts ignores too.

    Raises:
        DatasetError: the caption is not UTF-8, or two files hold different ones.
    """
    texts = {}
    for path in files:
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path}: cannot be read ({error}). Save it as UTF-8.") from None
        texts[path] = [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()]
    if len({tuple(lines) for lines in texts.values()}) > 1:
        first, second = list(texts)[:2]
        raise DatasetError(f"{first} and {second.name} are different captions of one photo. Remove one of them.")
    if nul := next((path for path, lines in texts.items() if any("\0" in line for line in lines)), None):
        raise DatasetError(f"{nul}: contains a NUL character. Save it as UTF-8 text.")
    lines = next(iter(texts.values()), [])
    return (lines[0] if lines else ""), len(lines) > 1


def files(item: Item, split: str) -> dict[str, bytes]:
    """Return the files of a triple by name: photo and caption in img/, map in cond/.

    sd-scripts reads the first line of a caption, and refuses an empty file; a photo without one has an empty prompt.
    """
    folder, caption = split_folder(item.triple.split, split), " ".join(item.triple.text.split())
    names = {f"img/{item.key}{item.suffix}": item.photo, f"cond/{item.key}.png": item.control_map}
    if caption:
        names[f"img/{item.key}.txt"] = caption.encode()
    return {folder + name: data for name, data in names.items()}


def lists(content: Content) -> Iterator[tuple[str, Chunks]]:
    """Yield the dataset.toml of each split."""
    for split in content.splits:
        yield f"{content.folder(split)}dataset.toml", [_toml(content.sizes)]


def _toml(sizes: Iterable[tuple[int, int]]) -> bytes:
    """Return a dataset.toml with which sd-scripts resizes neither photos nor maps, which would blend colours.

    A picture whose sides are multiples of bucket_reso_steps, and whose area is at most that of the resolution, is its
    own bucket if bucket_no_upscale is set (BucketManager.select_bucket).
    """
    width, height = max(sizes, key=math.prod)
    steps = math.gcd(*(side for size in sizes for side in size), 64)
    return f"""\
# Run sd-scripts in this folder, or make the two folders absolute paths. Pictures keep their sizes: no map is resized.
[general]
caption_extension = ".txt"
enable_bucket = true
bucket_no_upscale = true
bucket_reso_steps = {steps}

[[datasets]]
resolution = [{width}, {height}]
batch_size = 1

[[datasets.subsets]]
image_dir = "img"
conditioning_data_dir = "cond"
num_repeats = 1
""".encode()
