"""Take over control maps that a person repainted, and name the classes of one's own that no map shows yet."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from segkit import maps, storage
from segkit.dataset import Dataset, checked
from segkit.dataset.triple import Triple
from segkit.errors import MapError
from segkit.maps import codec
from segkit.maps.codec import Labels
from segkit.palette import PROTOCOLS, UNLABELLED, Palette
from segkit.words import listed


@dataclass
class Repainted:
    """What became of control maps that were changed after they were stored.

    Attributes:
        adopted: names of the maps that were taken over.
        refused: names of those that were not, with the reason, as sentences.
    """

    adopted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def adopt(dataset: Dataset, rehash: bool = False) -> Repainted:
    """Take over control maps that were changed by hand: their classes are recorded, and they become indexed PNGs again.

    Only a map of the same size whose every pixel has exactly the colour of a class, or black, is taken over; any other
    stays as it is. The caller must hold the dataset's lock.

    Args:
        dataset: the dataset.
        rehash: read all maps; otherwise those are not read whose size and time are what they were when last read.
    """
    result = Repainted()
    changed = []
    for triple in checked.changed_maps(dataset, rehash):
        path = dataset.folder / triple.conditioning_image_file_name
        try:
            labels = _labels(dataset, triple)
        except MapError as error:
            result.refused.append(f"{triple.conditioning_image_file_name} was changed, and {error}.")
            continue
        data = codec.encode(labels, dataset.info.palette)
        storage.write(path, data)  # before the record: after a kill, the map still counts as changed
        _, classes = codec.summarize(labels, np.ones(labels.shape, np.float32), dataset.info.palette)
        changed.append(replace(triple, classes=classes, map_sha256=storage.sha256(data)))
        result.adopted.append(triple.conditioning_image_file_name)
    if changed:
        dataset.commit(changed)
        dataset.fold()
    return result


def _labels(dataset: Dataset, triple: Triple) -> Labels:
    """Return the classes of a changed map.

    Raises:
        MapError: it cannot be taken over. The message begins with a verb.
    """
    image, palette = maps.read(dataset.folder / triple.conditioning_image_file_name), dataset.info.palette
    if image.size != (triple.width, triple.height):
        width, height = image.size
        raise MapError(f"is {width}x{height} now, not {triple.width}x{triple.height}: paint it at its own size")
    labels, off = codec.read(image, palette)
    if off:
        raise MapError(
            f"has {off:,} pixels in colours of no class: paint without smoothing, in the exact colours "
            "(segkit check-palette PALETTE --swatches FILE.gpl writes them for an editor)"
        )
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
        if swatch.index not in present and palette.by_color[swatch.rgb] in present:
            return swatch.name
    return ""


def unseen_classes(dataset: Dataset) -> Iterator[str]:
    """Yield one sentence about the added classes of a dataset's palette that no map shows yet, with what to do."""
    name = dataset.info.settings.get("protocol")
    known = len(Palette.load(PROTOCOLS[name])) if name in PROTOCOLS else len(dataset.info.palette)
    seen = {share.name for triple in dataset.triples() for share in triple.classes}
    unseen = [swatch for swatch in list(dataset.info.palette)[known:] if swatch.name not in seen]
    if unseen:
        classes = listed([f"{swatch.name} ({swatch.index}, {swatch.hex})" for swatch in unseen])
        this, it, color = (
            ("this class", "it", "this colour") if len(unseen) == 1 else ("these classes", "them", "these colours")
        )
        yield (
            f"No pixel of {this} yet: {classes}. Paint {it} into {dataset.folder / 'maps'} in exactly {color}, and run "
            "the same command again."
        )
