"""What a person should know about an export."""

from collections.abc import Iterator

from segkit.exports.selection import Selection
from segkit.palette import Palette
from segkit.settings import DatasetExportSettings
from segkit.words import are, count, listed


def of(settings: DatasetExportSettings, selection: Selection, palette: Palette) -> list[str]:
    """Return sentences about the sample, the splits, the colours and the sizes, where they may surprise."""
    return [*_sample(settings, selection), *_splits(settings, selection), *_colors(settings, selection, palette),
            *_sizes(settings, selection)]  # fmt: skip


def _sample(settings: DatasetExportSettings, selection: Selection) -> Iterator[str]:
    if settings.sample:
        of_all = count(selection.candidates, "triple")
        yield f"A random sample of {selection.total:,} of {of_all}, drawn with seed {settings.seed}."


def _splits(settings: DatasetExportSettings, selection: Selection) -> Iterator[str]:
    held_out = selection.total - selection.splits["train"]
    if settings.to == "webdataset" and held_out and selection.splits["train"]:
        yield (
            f"{are(held_out, 'triple')} held out: segkit keeps them apart by their records; for other trainers export "
            "the splits one by one (split=train)."
        )


def _colors(settings: DatasetExportSettings, selection: Selection, palette: Palette) -> Iterator[str]:
    """Say which classes of RGB maps cannot be told apart any more (ADE20K: skyscraper and road)."""
    first = {swatch.name: palette[palette.by_color[swatch.rgb]].name for swatch in palette}
    lost = [name for name in first if first[name] != name and selection.pixels[name]]
    if settings.maps == "rgb" and lost:
        pairs = [f"{name} is read as {first[name]}" for name in lost]
        yield (
            f"RGB maps hold colours, which some classes share: {listed(pairs)}. Indexed maps keep the classes; segkit "
            "import restores them from the export's record."
        )


def _sizes(settings: DatasetExportSettings, selection: Selection) -> Iterator[str]:
    if settings.to != "fill50k":
        return
    if len(selection.sizes) > 1:
        yield f"The pictures have {len(selection.sizes)} sizes, so ControlNet's tutorial needs a batch size of 1."
    if any(side % 64 for size in selection.sizes for side in size):
        yield "Some sides are no multiples of 64, which ControlNet's tutorial needs."
