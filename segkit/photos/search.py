"""Finding the photos in a folder. Every file that is passed over is returned too, with the reason."""

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from segkit.photos import signatures

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .tif .tiff .bmp .dib .gif .avif .avifs .heic .heics .heif .heifs .hif "
    ".jp2 .j2k .jpf .jpx .j2c .jpc .ppm .pgm .pbm .pnm .qoi .psd .pcx .sgi .tga".split()
)

_THUMBNAIL_FOLDERS = frozenset(
    ("@eadir", ".thumbnails", ".thumbs", ".@__thumb", "@__thumb", "__macosx", ".picasaoriginals", ".comments")
)
"""Folders in which Synology, QNAP, Android, desktops, macOS archives and Picasa keep copies of photos; lower case."""

_SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", ".ds_store", "icon\r"))


@dataclass(frozen=True)
class PassedOver:
    """A file, or a folder as a whole, that is not examined as a photo.

    Attributes:
        path: where it is.
        reason: a key of photos.REASONS.
        message: the details, with the cure if there is one.
    """

    path: PurePath
    reason: str
    message: str


def find(folder: Path, exclude: Path | None = None, follow_links: bool = False) -> Iterator[Path]:
    """Yield all paths below a folder that have the suffix of a photo, sorted. See `search`."""
    yield from search(folder, exclude, follow_links)[0]


def search(
    folder: Path, exclude: Path | None = None, follow_links: bool = False
) -> tuple[list[Path], list[PassedOver]]:
    """Return all paths below a folder that have the suffix of a photo, and everything else, both sorted.

    A folder or pipe with the suffix of a photo is among the photos, and so is a folder that cannot be listed; `read`
    refuses them with a reason. Symbolic links to folders that are visited anyway are ignored.

    Args:
        folder: folder to search.
        exclude: folder to ignore, such as the dataset being written.
        follow_links: follow symbolic links that lead out of the folder.
    """
    photos: set[Path] = set()
    passed: dict[PurePath, PassedOver] = {}
    for item in _walk(folder, exclude.resolve() if exclude else None, follow_links):
        if isinstance(item, PassedOver):
            passed[item.path] = item
        else:
            photos.add(item)

    def place(path: PurePath) -> str:
        return path.relative_to(folder).as_posix()

    return sorted(photos, key=place), [passed[path] for path in sorted(passed, key=place)]


def _walk(root: Path, exclude: Path | None, follow_links: bool) -> Iterator[Path | PassedOver]:
    queue, visited = deque([root]), {exclude}
    inside = None if follow_links else Path(os.path.realpath(root))
    while queue:
        folder = queue.popleft()
        real = Path(os.path.realpath(folder))  # links may form cycles
        if real in visited:
            continue
        visited.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            yield folder
            continue
        if any(entry.name == ".segkit" for entry in entries):
            yield PassedOver(folder, "dataset", "a segkit dataset")
            continue
        for entry in entries:
            path = folder / entry.name
            if passed := _system_file(entry, inside):
                yield from _below(path, *passed)
                continue
            yield from _visible(entry, path)
            if _is_folder(entry):
                # links come after all real folders, so that photos are found under their real paths
                queue.insert(len(queue) if entry.is_symlink() else 0, path)


def _system_file(entry: "os.DirEntry[str]", inside: Path | None) -> tuple[str, str] | None:
    """Return reason and message if an entry is to be passed over whatever it holds; None for all others."""
    if inside and entry.is_symlink():
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(inside):
            return "link-outside", f"leads to {target}"
    if _is_folder(entry) and entry.name.lower() in _THUMBNAIL_FOLDERS:
        return "thumbnail", f"in the folder {entry.name}"
    if entry.name.startswith("._") or entry.name.lower() in _SYSTEM_FILES:
        return "thumbnail", "written by a NAS, a desktop or macOS"
    return ("hidden", "its name or folder begins with a dot") if entry.name.startswith(".") else None


def passed_by_name(name: str) -> tuple[str, str] | None:
    """Return reason and message if a file is to be passed over for its name, or that of a folder that it lies in.

    Args:
        name: of a file that is not on the local file system, relative to what is searched, with "/" as separator.
    """
    *folders, last = name.split("/")
    for folder in folders:
        if folder.lower() in _THUMBNAIL_FOLDERS:
            return "thumbnail", f"in the folder {folder}"
    if last.startswith("._") or last.lower() in _SYSTEM_FILES:
        return "thumbnail", "written by a NAS, a desktop or macOS"
    is_hidden = any(part.startswith(".") for part in (*folders, last))
    return ("hidden", "its name or folder begins with a dot") if is_hidden else None


def _visible(entry: "os.DirEntry[str]", path: Path) -> Iterator[Path | PassedOver]:
    if path.suffix.lower() in SUFFIXES:
        yield path
    elif not _is_folder(entry):
        yield _unknown(path)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        return error.errno == errno.EACCES  # a link into a folder without permission, as opposed to a link to itself


def _below(path: Path, reason: str, message: str) -> Iterator[PassedOver]:
    """Yield a file, or all files below a folder, as passed over. Links are not followed."""
    if path.is_symlink() or not path.is_dir():
        yield PassedOver(path, reason, message)
        return
    unlisted: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=unlisted.append):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*names, *links):
            yield PassedOver(Path(folder) / name, reason, message)
    for error in unlisted:
        yield PassedOver(Path(error.filename), reason, message)


def _unknown(path: Path) -> PassedOver:
    """Say what a file without the ending of a photo holds, by its first bytes."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would block
            return PassedOver(path, "other-file", "a pipe or device")
        with path.open("rb") as file:
            head = file.read(signatures.HEAD)
    except OSError as error:
        return PassedOver(path, "unreadable", os.strerror(error.errno or 0))
    return PassedOver(path, *signatures.misnamed(path.suffix.lower(), head))
