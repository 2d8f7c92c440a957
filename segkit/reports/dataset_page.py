"""One self-contained HTML page about a dataset: the numbers and a contact sheet. Needs no network, runs no script."""

from html import escape
from pathlib import Path

from PIL import Image
from PIL.Image import Resampling

from segkit import storage
from segkit.dataset import Dataset, prompts
from segkit.dataset.stats import Summary, summarize
from segkit.dataset.triple import Triple
from segkit.photos import REASONS
from segkit.reports import page

SHEET = 60
"""Triples on the contact sheet: evenly spread over the dataset."""

THUMBNAIL = 240
"""Pixels of a thumbnail's longer side."""


def write(dataset: Dataset) -> Path:
    """Write the page to .segkit/report.html: the same dataset gives the same bytes.

    Returns:
        The page's path.

    Raises:
        StorageError: the disk is full.
    """
    summary = summarize(dataset)
    shown = _spread(dataset, summary.triples)
    path = dataset.hidden / "report.html"
    storage.write(path, _page(dataset, summary, shown).encode())
    return path


def _spread(dataset: Dataset, total: int) -> list[Triple]:
    step = max(1, -(-total // SHEET))
    return [triple for place, triple in enumerate(dataset.triples()) if place % step == 0]


def _page(dataset: Dataset, summary: Summary, shown: list[Triple]) -> str:
    models = "; ".join(f"{role} {names['name']}" for role, names in sorted(dataset.info.models.items()))
    largest = list(summary.classes.items())[:15]
    colors = {swatch.name: swatch.hex for swatch in dataset.info.palette}
    estimated = " (estimated: CLIP's tokenizer was not to be had)" if summary.tokens_estimated else ""
    figures = "\n".join(_figure(dataset, triple) for triple in shown)
    body = f"""<p class="soft">Palette {escape(dataset.info.palette.name)}; {escape(models)}</p>
<section class="numbers">
<div><h2>Classes by share of pixels</h2>
{page.table((page.swatch(colors.get(name, "#000")) + escape(name), f"{share:.1%}") for name, share in largest)}
</div>
<div><h2>Prompts by tokens{estimated}</h2>
{page.table((escape(name), f"{count:,}") for name, count in summary.lengths.items())}
{_named("Prompts to look at", summary.flags, prompts.FLAGS)}
</div>
<div>{_named("Left out", summary.rejected, REASONS)}
<h2>Splits</h2>
{page.table((escape(name), f"{count:,}") for name, count in summary.splits.items())}
</div>
</section>
<h2>{len(shown)} of them: photo, control map, both</h2>
<section class="sheet">
{figures}
</section>"""
    return page.document("segkit dataset", f"{summary.triples:,} triples", body)


def _named(title: str, counts: dict[str, int], meanings: dict[str, str]) -> str:
    if not counts:
        return ""
    rows = ((f"{escape(name)}: {escape(meanings.get(name, ''))}", f"{count:,}") for name, count in counts.items())
    return f"<h2>{title}</h2>\n{page.table(rows)}"


def _figure(dataset: Dataset, triple: Triple) -> str:
    try:
        photo, control_map, overlay = _thumbnails(dataset, triple)
    except Exception as error:  # Pillow raises anything on damaged files
        return f"<figure><figcaption>{escape(triple.source)}: {escape(str(error))}</figcaption></figure>"
    classes = ", ".join(f"{share.name} {share.share:.0%}" for share in triple.classes[:5] if share.share >= 0.005)
    flags = "".join(f" &middot; {escape(flag)}" for flag in triple.problems)
    return f"""<figure><div>
{page.picture(photo, "photo")}
{page.picture(control_map, "control map", "PNG", "map")}
{page.picture(overlay, "both")}
</div><figcaption>{escape(triple.text) or "<em>no prompt</em>"}<br>
<small>{escape(triple.source)} &middot; {triple.key} &middot; {triple.width}&times;{triple.height}
&middot; {escape(triple.split)} &middot; {escape(classes)}{flags}</small></figcaption></figure>"""


def _thumbnails(dataset: Dataset, triple: Triple) -> tuple[Image.Image, Image.Image, Image.Image]:
    with Image.open(dataset.folder / triple.file_name) as photo_file:
        photo = photo_file.convert("RGB")
    with Image.open(dataset.folder / triple.conditioning_image_file_name) as map_file:
        control_map = map_file.copy()
    scale = THUMBNAIL / max(photo.size)
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    photo = photo.resize(size, Resampling.LANCZOS)
    control_map = control_map.resize(size, Resampling.NEAREST)
    overlay = Image.blend(photo, control_map.convert("RGB"), 0.5)
    return photo, control_map, overlay
