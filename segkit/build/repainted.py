"""Take over control maps that a person repainted, and name the classes of one's own that no map shows yet."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from segkit import maps
from segkit.dataset import Dataset, checked, painted, saving
from segkit.errors import MapError
from segkit.palette import PROTOCOLS, Palette
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
        if not saving.is_painted_over(triple):  # an interrupted save of segkit's own
            continue
        try:
            image = maps.read(dataset.folder / triple.conditioning_image_file_name)
            labels = painted.exact(
                image, triple, dataset.info.palette, saving.present(dataset, triple, painted_over=True)
            )
        except MapError as error:
            result.refused.append(f"{triple.conditioning_image_file_name} was changed, and {error}.")
            continue
        changed.append(saving.taken_over(dataset, triple, labels))
        result.adopted.append(triple.conditioning_image_file_name)
    if changed:
        dataset.commit(changed)
        dataset.fold()
    return result


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
            "the same command again, or paint a copy of a map and pass it to segkit relabel."
        )
