"""Control maps that a person painted in an editor, such as GIMP or Photoshop, become the maps of a dataset."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit import maps, photos
from segkit.dataset import comparison, edits, relabel, saving
from segkit.dataset.comparison import Change
from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, MapError, UsageError
from segkit.maps import MapFile, causes, codec, pixels, snap
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette
from segkit.progress import Progress, silent
from segkit.words import quote

DOUBTFUL = 0.02
"""Share of pixels, 0 to 1, whose class is in doubt, above which a repaired map is refused."""


@dataclass(frozen=True)
class Taken:
    """What became of one painted map.

    Attributes:
        file: the painted map.
        key, source: of its triple; "" if there is none.
        changed: share of the pixels that have another class now, 0 to 1.
        note: how the map was repaired; "" if it was exact.
        reason: why it was not taken, beginning with a verb; "" if it was.
        pixels: number of those that have another class now.
        uncertain: number of pixels that fit two classes about equally well, or none.
        transparent: number of transparent pixels, which are unlabelled.
        changes: which classes became which, most pixels first; () if the map before is unknown.
        is_thin: whether a repaired map changes lines along borders only, which may be no person's work.
    """

    file: str
    key: str = ""
    source: str = ""
    changed: float = 0.0
    note: str = ""
    reason: str = ""
    pixels: int = 0
    uncertain: int = 0
    transparent: int = 0
    changes: tuple[Change, ...] = ()
    is_thin: bool = False


@dataclass(frozen=True)
class _Reading:
    """A painted map as it was read.

    Attributes:
        labels: (H, W) uint8 class indices.
        note: see Taken.
        doubts: (H, W) bool, pixels whose class is in doubt; None if there are none.
    """

    labels: Labels
    note: str = ""
    doubts: NDArray[np.bool_] | None = None

    def painted(self, present: Labels, in_place: bool) -> Labels:
        """Return the map that a person painted: the one that is stored if only pixels in doubt differ from it."""
        if self.doubts is not None and not in_place and not ((self.labels != present) & ~self.doubts).any():
            return present  # such as a JPEG of the stored map: nothing was painted
        return self.labels


def take(dataset: Dataset, name: str, control_map: Path | Image.Image, *, dry_run: bool = False) -> Taken:
    """Make a painted map the map of a triple: an edit by a person, which can be undone.

    The map is read exactly, or repaired as `segkit snap` does if every pixel is clear enough.

    Args:
        dataset: the dataset to change.
        name: key, beginning of a key, source or file name of the triple.
        control_map: the map as a file or picture. The triple's own file takes over what was painted there in place.
        dry_run: only return what would change.

    Raises:
        UsageError: the name matches no triple or several.
        MapError: the map cannot be taken; the message says what to do. The dataset is unchanged.
        DatasetError: the dataset's own map was changed outside segkit, too.
        LockedError: another process is writing the dataset.
    """
    key = edits.find(dataset, name)
    triple = dataset.get([key])[0]
    file = _file(control_map)
    try:
        source = control_map if isinstance(control_map, Image.Image) else maps.read_file(control_map)
        taken = _taken(dataset, triple, control_map, source, dry_run)
    except MapError as error:  # its text begins with a verb
        raise MapError(f"{file} {error}") from None
    if not dry_run:
        with dataset.writing():  # the manifest shows it
            dataset.fold_if_small()
    return taken


def take_folder(dataset: Dataset, folder: Path, progress: Progress = silent, *, dry_run: bool = False) -> list[Taken]:
    """Take all maps of a folder, each named after its triple: KEY.png, or as its photo was, with any suffix.

    Args:
        dataset: the dataset to change.
        folder: the painted maps, searched recursively.
        progress: called with ("maps", done, total).
        dry_run: only return what would change.

    Returns:
        What became of each map; one that cannot be taken does not stop the others.

    Raises:
        UsageError: the folder holds no pictures.
        LockedError: another process is writing the dataset.
    """
    files = sorted(photos.find(folder, follow_links=True)) if folder.is_dir() else []
    if not files:
        raise UsageError(f"{folder} contains no pictures. Expected maps named after keys or photos, such as KEY.png.")
    results = []
    for done, (file, key, reason) in enumerate(_matched(dataset, folder, files), 1):
        if key:
            results.append(_tried(dataset, key, file, dry_run))
        else:
            results.append(Taken(str(file), reason=reason))
        progress("maps", done, len(files))
    if not dry_run:
        with dataset.writing():  # the manifest shows all of them
            dataset.fold_if_small()
    return results


def exact(image: Image.Image, triple: Triple, palette: Palette, present: Labels | None = None) -> Labels:
    """Return the classes of a painted map without any approximation.

    Args:
        image: the painted map.
        triple: its triple.
        palette: the classes.
        present: (H, W) uint8, the map before. Where a colour did not change, neither does its class, although several
            classes may share it; None if it is unknown.

    Raises:
        MapError: it cannot be read like this. The message begins with a verb.
    """
    labels, off = _read(image, triple, palette, present)
    if off:
        raise MapError(
            f"has {off:,} pixels in colours of no class: paint without smoothing, in the exact colours "
            "(segkit check-palette PALETTE --swatches FILE.gpl writes them for an editor)"
        )
    return _plausible(labels, triple, palette)


def _read(image: Image.Image, triple: Triple, palette: Palette, present: Labels | None) -> tuple[Labels, int]:
    if image.size != (triple.width, triple.height):
        width, height = image.size
        raise MapError(f"is {width}x{height} now, not {triple.width}x{triple.height}: paint it at its own size")
    labels, off = codec.read(image, palette)
    if present is not None and not codec.is_exact(image, palette):
        colors = np.frombuffer(palette.bytes, np.uint8).reshape(256, 3)
        unchanged = (colors[labels] == colors[present]).all(axis=2) & (labels != UNLABELLED)
        labels = np.where(unchanged, present, labels)
    return labels, off


def _plausible(labels: Labels, triple: Triple, palette: Palette) -> Labels:
    if (labels == UNLABELLED).all():
        raise MapError("shows no class at all: it is black")
    if lost := _merged(triple, labels, palette):
        raise MapError(
            f"was saved without its indices, so {lost} can no longer be told from the class of the same colour: "
            "save it as an indexed PNG"
        )
    return labels


def _merged(triple: Triple, labels: Labels, palette: Palette) -> str:
    """Return a class that the map had and that its colours no longer tell from another (ADE20K: skyscraper, road)."""
    present = set(np.unique(labels).tolist())
    for share in triple.classes:
        swatch = palette.find(share.name)
        if swatch.index not in present and palette.by_color[swatch.rgb] in present - {swatch.index}:
            return swatch.name
    return ""


_PAINT = (
    "Paint on a copy of the stored map, in the exact colours of its classes and without smoothing, and save it as PNG "
    "(segkit check-palette PALETTE --swatches FILE.gpl writes the colours for an editor)"
)


def _readable(source: Image.Image | MapFile, triple: Triple, palette: Palette, present: Labels | None) -> _Reading:
    """Read the classes of a painted map, and repair it if that is needed."""
    image = _image(source)
    labels, off = _read(image, triple, palette, present)
    if not off:
        return _Reading(_plausible(labels, triple, palette))
    try:
        snapped = snap.snap(source, palette)
    except MapError as error:  # its advice is for maps of other programs; this one was painted by hand
        raise MapError(f"{str(error).partition('. ')[0]}. {_PAINT}") from None
    if snapped.doubtful > DOUBTFUL or not snapped.is_explained:
        unsure = f"{snapped.doubtful:.0%} of its pixels fit no class with certainty"
        fault = unsure if snapped.is_explained else "no settings of JPEG explain how they came about"
        raise MapError(
            f"has {off:,} pixels in colours of no class, and {fault}: paint without smoothing, in the exact colours, "
            "and save it as PNG"
        )
    cause = causes.CAUSES[snapped.diagnosis.cause]
    return _Reading(_plausible(snapped.labels, triple, palette), f"{cause}; {off:,} pixels repaired", snapped.doubts)


def _image(source: Image.Image | MapFile) -> Image.Image:
    return source.image if isinstance(source, MapFile) else source


def _taken(
    dataset: Dataset, triple: Triple, control_map: Path | Image.Image, source: Image.Image | MapFile, dry_run: bool
) -> Taken:
    stored_path, palette = dataset.folder / triple.conditioning_image_file_name, dataset.info.palette
    in_place = isinstance(control_map, Path) and stored_path.exists() and control_map.resolve() == stored_path.resolve()
    present = saving.present(dataset, triple, in_place)
    reading = _readable(source, triple, palette, present)
    taken = _compared(triple, reading, present, in_place, palette)
    file = _file(control_map)
    if dry_run:
        pass
    elif in_place and saving.is_painted_over(triple):
        relabel.take_over(dataset, triple.key, reading.labels)
    elif taken.pixels:
        relabel.replace_labels(dataset, triple.key, reading.labels, what=f"painted: {Path(file).name}")
    return replace(taken, file=file, transparent=pixels.transparent(_image(source)))


def _file(control_map: Path | Image.Image) -> str:
    return "the map" if isinstance(control_map, Image.Image) else str(control_map)


def _compared(triple: Triple, reading: _Reading, present: Labels | None, in_place: bool, palette: Palette) -> Taken:
    """Return what a painted map changes."""
    uncertain = 0 if reading.doubts is None else int(reading.doubts.sum())
    taken = Taken("", triple.key, triple.source, 1.0, reading.note, pixels=reading.labels.size, uncertain=uncertain)
    if present is None:
        return taken
    labels = reading.painted(present, in_place)
    differs = labels != present
    return replace(
        taken, changed=float(differs.mean()), pixels=int(differs.sum()),
        changes=comparison.changes(present, labels, palette),
        is_thin=reading.note != "" and bool(differs.any()) and not comparison.has_area(differs),
    )  # fmt: skip


def _tried(dataset: Dataset, key: str, file: Path, dry_run: bool) -> Taken:
    triple = dataset.get([key])[0]
    try:
        return _taken(dataset, triple, file, maps.read_file(file), dry_run)
    except MapError as error:
        return Taken(str(file), key, triple.source, reason=str(error))
    except DatasetError as error:
        if triple.has_files and saving.is_painted_over(triple):
            return Taken(str(file), key, triple.source, reason=f"was left alone: {error}")
        raise


def _matched(dataset: Dataset, folder: Path, files: Sequence[Path]) -> Iterator[tuple[Path, str, str]]:
    """Yield each file with the key of its triple, or "" and the reason why there is none."""
    by_name: dict[str, list[str]] = {}
    for triple in dataset.triples():
        source = PurePosixPath(triple.source)
        for name in {triple.key, triple.source, str(source.with_suffix("")), source.name, source.stem}:
            by_name.setdefault(name, []).append(triple.key)
    taken: dict[str, Path] = {}
    for file in files:
        relative = PurePosixPath(file.relative_to(folder).as_posix())
        names = (str(relative), str(relative.with_suffix("")), relative.name, relative.stem)
        keys = next((by_name[name] for name in names if name in by_name), [])
        if not keys:
            yield file, "", "is named after no triple: call it KEY.png, or as its photo is called"
        elif len(keys) > 1:
            yield file, "", f"could belong to {len(keys)} photos ({', '.join(sorted(keys)[:3])}): call it KEY.png"
        elif keys[0] in taken:
            yield file, "", f"belongs to the same photo as {quote(taken[keys[0]])}: keep one of them"
        else:
            taken[keys[0]] = file
            yield file, keys[0], ""
