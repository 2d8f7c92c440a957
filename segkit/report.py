"""One self-contained HTML page about a dataset: the numbers and a contact sheet. Needs no network, runs no script."""

from base64 import b64encode
from collections.abc import Iterable
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image
from PIL.Image import Resampling

from segkit import prompts, storage
from segkit.dataset import Dataset
from segkit.photos import REASONS
from segkit.summary import Summary, summarise
from segkit.triple import Triple

SHEET = 60
"""Triples on the contact sheet: evenly spread over the dataset."""

THUMBNAIL = 240
"""Pixels of a thumbnail's longer side."""

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.soft, figcaption small { color: var(--soft); }
section { display: grid; gap: 1.5rem 2.5rem; align-items: start; }
section.numbers { grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); }
section.sheet { grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); }
table { border-collapse: collapse; width: 100%; }
td { border-bottom: 1px solid var(--line); padding: .2rem .4rem .2rem 0; }
td:last-child { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
i { display: inline-block; width: 1em; height: 1em; margin-right: .5em; vertical-align: -.15em; outline: 1px solid; }
figure { margin: 0; overflow-wrap: anywhere; } figure div { display: flex; gap: 4px; align-items: start; }
figure img { width: calc((100% - 8px) / 3); height: auto; } figure img.map { image-rendering: pixelated; }
@media (max-width: 600px) { section.sheet { grid-template-columns: 1fr; } }
"""


def write(dataset: Dataset) -> Path:
    """Write the page to .segkit/report.html: the same dataset gives the same bytes.

    Returns:
        The page's path.

    Raises:
        StorageError: the disk is full.
    """
    summary = summarise(dataset)
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
    colours = {swatch.name: swatch.hex for swatch in dataset.info.palette}
    estimated = " (estimated: CLIP's tokenizer was not to be had)" if summary.tokens_estimated else ""
    figures = "\n".join(_figure(dataset, triple) for triple in shown)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>segkit dataset</title>
<style>{_STYLE}</style>
<h1>{summary.triples:,} triples</h1>
<p class="soft">Palette {escape(dataset.info.palette.name)}; {escape(models)}</p>
<section class="numbers">
<div><h2>Classes by share of pixels</h2>
{_table((_swatch(colours.get(name, "#000")) + escape(name), f"{share:.1%}") for name, share in largest)}
</div>
<div><h2>Prompts by tokens{estimated}</h2>
{_table((escape(name), f"{count:,}") for name, count in summary.lengths.items())}
{_named("Prompts to look at", summary.flags, prompts.FLAGS)}
</div>
<div>{_named("Left out", summary.rejected, REASONS)}
<h2>Splits</h2>
{_table((escape(name), f"{count:,}") for name, count in summary.splits.items())}
</div>
</section>
<h2>{len(shown)} of them: photo, control map, both</h2>
<section class="sheet">
{figures}
</section>
</html>
"""


def _named(title: str, counts: dict[str, int], meanings: dict[str, str]) -> str:
    if not counts:
        return ""
    rows = ((f"{escape(name)}: {escape(meanings.get(name, ''))}", f"{count:,}") for name, count in counts.items())
    return f"<h2>{title}</h2>\n{_table(rows)}"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "<table>" + "".join(f"<tr><td>{left}<td>{right}" for left, right in rows) + "</table>"


def _swatch(colour: str) -> str:
    return f'<i style="background:{colour}"></i>'


def _figure(dataset: Dataset, triple: Triple) -> str:
    try:
        photo, control_map, overlay = _thumbnails(dataset, triple)
    except Exception as error:  # Pillow raises anything on damaged files
        return f"<figure><figcaption>{escape(triple.source)}: {escape(str(error))}</figcaption></figure>"
    classes = ", ".join(f"{share.name} {share.share:.0%}" for share in triple.classes[:5] if share.share >= 0.005)
    flags = "".join(f" &middot; {escape(flag)}" for flag in triple.problems)
    return f"""<figure><div>
<img src="data:image/jpeg;base64,{photo}" alt="photo">
<img class="map" src="data:image/png;base64,{control_map}" alt="control map">
<img src="data:image/jpeg;base64,{overlay}" alt="both">
</div><figcaption>{escape(triple.text) or "<em>no prompt</em>"}<br>
<small>{escape(triple.source)} &middot; {triple.key} &middot; {triple.width}&times;{triple.height}
&middot; {escape(triple.split)} &middot; {escape(classes)}{flags}</small></figcaption></figure>"""


def _thumbnails(dataset: Dataset, triple: Triple) -> tuple[str, str, str]:
    with Image.open(dataset.folder / triple.file_name) as photo_file:
        photo = photo_file.convert("RGB")
    with Image.open(dataset.folder / triple.conditioning_image_file_name) as map_file:
        control_map = map_file.copy()
    scale = THUMBNAIL / max(photo.size)
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    photo = photo.resize(size, Resampling.LANCZOS)
    control_map = control_map.resize(size, Resampling.NEAREST)
    overlay = Image.blend(photo, control_map.convert("RGB"), 0.5)
    return _base64(photo, "JPEG"), _base64(control_map, "PNG"), _base64(overlay, "JPEG")


def _base64(image: Image.Image, picture_format: str) -> str:
    buffer = BytesIO()
    image.save(buffer, picture_format)
    return b64encode(buffer.getvalue()).decode()
