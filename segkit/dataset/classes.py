"""Classes that a person adds to the palette of a dataset."""

from collections.abc import Sequence

from msgspec.structs import replace

from segkit.dataset.dataset import Dataset
from segkit.palette import Swatch, extend


def add_classes(dataset: Dataset, names: Sequence[str]) -> tuple[Swatch, ...]:
    """Add classes at the end of a dataset's palette, in colours as far as possible from all others.

    Maps stay as they are: their indices and colours mean the same classes as before.

    Args:
        dataset: the dataset to change.
        names: of the new classes.

    Returns:
        The new classes.

    Raises:
        PaletteError: a name is empty, known already or not usable, or there are more than 255 classes.
        LockedError: another process is writing the dataset.
    """
    with dataset.writing():
        info = dataset.info
        name = info.palette.name if info.added else f"{info.palette.name}-extended"
        palette = extend.extended(info.palette, names, name)
        dataset.save_info(replace(info, palette=palette, added=info.added + len(names)))
    return palette.swatches[len(info.palette) :]
