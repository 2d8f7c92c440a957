"""The dataset card: README.md with the header that Hugging Face reads."""

import json
from collections.abc import Iterator

from segkit.dataset.formats.writing import HF_SPLITS, Content
from segkit.exports.selection import Selection
from segkit.settings import DatasetExportSettings
from segkit.words import count, listed

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
"""Hugging Face's categories of sizes."""

_MADE_BY = {"segmenter": "Control maps", "captioner": "Prompts"}
"""What the networks of a dataset wrote."""


def render(content: Content, settings: DatasetExportSettings, selection: Selection) -> bytes:
    """Return the card of an export as imagefolder or parquet."""
    sections = (_header, _summary, _columns, _classes, _origin, _licences)
    return "\n".join(line for section in sections for line in section(content, settings, selection)).encode() + b"\n"


def _header(content: Content, settings: DatasetExportSettings, selection: Selection) -> Iterator[str]:
    size = next((name for bound, name in _SIZES if selection.total < bound), "n>10M")
    yield from ("---", f"pretty_name: {json.dumps(content.name, ensure_ascii=False)}")
    yield from ("license: unknown", "task_categories:", "- text-to-image", "- image-segmentation")
    yield from ("tags:", "- controlnet", "- segmentation-map", "- segkit", "size_categories:", f"- {size}")
    # No "configs": with them, datasets caches a local folder by its name and the card alone, so that the export of a
    # changed dataset would load as the old one. Folders and files are named so that the splits are detected.
    yield from ("---", "")


def _summary(content: Content, settings: DatasetExportSettings, selection: Selection) -> Iterator[str]:
    yield from (
        f"# {content.name}",
        "",
        f"{count(selection.total, 'triple')} of a photo, a control map and a prompt.",
        "",
    )
    yield from ("| split | triples |", "|---|---|")
    yield from (f"| {HF_SPLITS[split]} | {number:,} |" for split, number in selection.by_split.items())
    yield ""
    if settings.sample:
        of_all = count(selection.candidates, "triple")
        yield from (f"A random sample of {selection.total:,} of {of_all}, drawn with seed {settings.seed}.", "")
    if settings.accepted_only:
        yield from ("Only triples that a person accepted.", "")


def _columns(content: Content, settings: DatasetExportSettings, selection: Selection) -> Iterator[str]:
    pixels = (
        "indices of classes, with the colours as the picture's palette" if settings.maps == "indexed" else "colours"
    )
    yield from ("## Columns", "", "| column | content |", "|---|---|", "| `image` | the photo |")
    yield f'| `conditioning_image` | the control map, PNG: {pixels}; `.convert("RGB")` is exact |'
    yield from ("| `text` | the prompt |", "| `key`, `source` | the photo's hash and its original name |")
    yield from (
        "| `split`, `review` | the split; whether a person accepted the triple |",
        "| `record` | all else, as JSON |",
    )
    yield from ("", "Resize maps with NEAREST only: any other filter blends colours into those of no class.", "")


def _classes(content: Content, settings: DatasetExportSettings, selection: Selection) -> Iterator[str]:
    palette = content.info.palette
    yield from ("## Classes", "", f"{count(len(palette), 'class')} of the palette {palette.name}; black is unlabelled.")
    yield from ("", "| index | class | colour | share of pixels |", "|---|---|---|---|")
    for swatch in palette:
        share = selection.pixels[swatch.name] / max(selection.area, 1)
        name = swatch.name.replace("|", "\\|")
        shown = f"{share:.2%}" if share else ""
        yield f"| {swatch.index} | {name} | `{swatch.hex}` | {shown} |"
    yield ""


def _origin(content: Content, settings: DatasetExportSettings, selection: Selection) -> Iterator[str]:
    yield from (
        "## How it was made",
        "",
        "With segkit: photos are upright sRGB, cropped and scaled once; maps hold exact colours.",
        "",
    )
    for role, what in _MADE_BY.items():
        model = content.info.models.get(role, {})
        if model.get("name"):
            revision = f" at revision {model['revision']}" if model.get("revision") else ""
            yield f"- {what}: `{model['name']}`{revision}"
    sizes = [f"{width} x {height}" for width, height in selection.sizes]
    yield from (f"- Sizes: {listed(sorted(sizes), 5)}", "")


def _licences(content: Content, settings: DatasetExportSettings, selection: Selection) -> Iterator[str]:
    yield from (
        "## Licences",
        "",
        "The photos keep the licences of their sources, which segkit does not know: state them here and in",
    )
    yield "the header's `license`. Prompts and maps by networks may be subject to the terms of those networks."
