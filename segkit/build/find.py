"""The photos of a build: found, and told apart from the dataset and from control maps."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePath

from segkit import photos
from segkit.build import remote_photos
from segkit.build.arrival import Place, source_name
from segkit.build.compact import Paths
from segkit.build.outcome import Outcome
from segkit.build.remote_photos import RemotePhoto, RemotePhotos
from segkit.build.settings import BuildSettings
from segkit.dataset.formats import layouts
from segkit.dataset.formats.listing import MAP_WORDS
from segkit.errors import UsageError
from segkit.photos import PassedOver
from segkit.remote.faults import shown
from segkit.words import quote

MATCHING = 0.5
"""Share of the pictures in a folder named like one of masks that must have a photo of the same name beside it."""

_MAP_ENDING = re.compile(rf"[-_. ](?:{'|'.join(sorted(MAP_WORDS))})$", re.IGNORECASE)


def find_photos(
    source: Path | str, output: Path, settings: BuildSettings
) -> tuple[Sequence[Place], list[PassedOver], Outcome]:
    """Find the photos to examine.

    Args:
        source: a folder; or a URL, tar files or a list, see remote_photos.search.
        output: the dataset's folder, which is not searched.
        settings: of the build.

    Returns:
        Where they are; the files that are passed over; and an Outcome that counts all files found and those skipped.

    Raises:
        UsageError: the folder does not exist, cannot be read, holds no photos, or is or overlaps a dataset.
        DatasetError: the folder holds the list of another tool's dataset, which is damaged.
        LocationError: a URL cannot be read.
    """
    folder = folder_of(source)
    listing: Sequence[Place]
    if remote_photos.is_remote(source):
        listing, passed = remote_photos.search(str(source))
    else:
        _require_folder(folder)
        _require_apart(folder, output)
        if layout := layouts.detect(folder):
            raise UsageError(
                f"{folder} already has control maps (layout {layout}), which are not photos. Train on it as it is: "
                f"segkit train {quote(folder)}; or pass the folder of its photos."
            )
        listing, passed = photos.search(folder, output, settings.follow_links)
    masks = _masks(folder, [_path(place) for place in listing])
    listing = [place for place in listing if _path(place) not in masks] if masks else listing
    passed += [
        PassedOver(path, "mask", f"a control map, named like a photo beside {masks[path].name}") for path in masks
    ]
    if not listing:
        place = shown(str(source))
        raise UsageError(
            f"{place} contains no photos. Expected files named .jpg, .png, .webp, .tiff, .heic or the like."
            + _example(folder, passed)
        )
    outcome = Outcome(found=len(listing) + len(passed))
    outcome.notes += _notes(None if remote_photos.is_remote(source) else folder, output, masks)
    outcome.skipped.update(item.reason for item in passed if item.reason in photos.SKIPPED)
    if settings.limit and len(listing) > settings.limit:
        outcome.skipped["limit"] = len(listing) - settings.limit
        listing = listing[: settings.limit]
    return _compact(folder, listing), passed, outcome


def folder_of(source: Path | str) -> Path:
    """Return the folder that sources are named relative to; the names of remote photos are relative already."""
    return Path() if remote_photos.is_remote(source) else Path(source)


def _path(place: Place) -> Path:
    return Path(place.name) if isinstance(place, RemotePhoto) else place


def _compact(folder: Path, listing: Sequence[Place]) -> Sequence[Place]:
    remote = [place for place in listing if isinstance(place, RemotePhoto)]
    return RemotePhotos(remote) if remote else Paths(folder, [_path(place) for place in listing])


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        actual = "a file" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {actual}. Expected a folder of photos.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be read (permission denied). Check its permissions.")
    if (folder / ".segkit").is_dir():
        raise UsageError(f"{folder} is a segkit dataset. Expected a folder of photos.")


def _require_apart(folder: Path, output: Path) -> None:
    """Refuse photos that are the output folder or lie inside it, or in any dataset."""
    inside, outside = folder.resolve(), output.resolve()
    beside = quote(inside.with_name(f"{inside.name}-dataset"))
    if inside == outside:
        raise UsageError(
            f"{folder} is both the folder of photos and the output. Choose another output folder, such as {beside}."
        )
    if outside in inside.parents:
        raise UsageError(
            f"The output folder {output} contains the folder of photos {folder}. Choose another output folder, such "
            f"as {beside}."
        )
    if dataset := next((parent for parent in inside.parents if (parent / ".segkit" / "dataset.toml").is_file()), None):
        raise UsageError(f"{folder} lies in the segkit dataset {dataset}. Expected a folder of photos outside it.")


def _notes(folder: Path | None, output: Path, masks: dict[Path, Path]) -> Iterator[str]:
    if folder and folder.resolve() in output.resolve().parents:
        yield f"The output folder {output} lies inside the folder of photos; it is not searched for photos."
    for root, number in Counter(masks.values()).items():
        yield (
            f"{root}: {number:,} pictures named like the photos beside it were taken for control maps and skipped. "
            "If they are photos, build from that folder."
        )


def _masks(folder: Path, paths: Sequence[Path]) -> dict[Path, Path]:
    """Return the pictures that are control maps of others, with the folder of masks that they are in.

    A folder named like one of masks holds them if at least MATCHING of its pictures are named like photos in the
    folders beside it.
    """

    @cache  # for each folder, not for each of a million photos
    def root_of(inner: Path) -> Path | None:
        parents = [parent for parent in (inner, *inner.parents) if parent != folder and parent.is_relative_to(folder)]
        return next((parent for parent in reversed(parents) if _is_map_name(parent.name)), None)

    roots: dict[Path, list[Path]] = {}
    for path in paths:
        if root := root_of(path.parent):
            roots.setdefault(root, []).append(path)
    beside: dict[Path, list[Path]] = {root.parent: [] for root in roots}
    for path in paths if beside else ():
        for parent in beside.keys() & set(path.parents):
            beside[parent].append(path)
    masks: dict[Path, Path] = {}
    for root, inside in roots.items():
        others = [path for path in beside[root.parent] if not path.is_relative_to(root)]
        photo_names = set(_names(root.parent, others))
        matching = [path for path in inside if not photo_names.isdisjoint(_stems(path.relative_to(root)))]
        if len(matching) >= MATCHING * len(inside):
            masks.update(dict.fromkeys(inside, root))
    return masks


def _is_map_name(name: str) -> bool:
    words = re.split(r"[-_. ]", name.lower())
    return any(word in MAP_WORDS or word.removesuffix("s") in MAP_WORDS for word in words)


def _names(parent: Path, paths: Iterable[Path]) -> Iterator[str]:
    """Yield the names of photos below a folder, and those within each of its folders, without endings."""
    for path in paths:
        relative = path.relative_to(parent)
        yield relative.with_suffix("").as_posix()
        yield PurePath(*relative.parts[1:]).with_suffix("").as_posix() if len(relative.parts) > 1 else relative.stem


def _stems(relative: Path) -> set[str]:
    """Return the names that a mask's photo may have: its own, and that without an ending such as _mask."""
    name = relative.with_suffix("").as_posix()
    return {name, _MAP_ENDING.sub("", name)}


def _example(folder: Path, passed: list[PassedOver]) -> str:
    """Return a sentence about one of the files that were passed over, preferably one that its owner can repair."""
    if not passed:
        return ""
    item = min(passed, key=lambda item: photos.SKIPPED.index(item.reason) if item.reason in photos.SKIPPED else -1)
    number = f"{len(passed):,} other files were" if len(passed) > 1 else "1 other file was"
    return f" {number} passed over, such as {source_name(item.path, folder)}: {item.message}."
