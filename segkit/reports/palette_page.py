"""What check-palette found as one self-contained HTML page: swatches and pairs, or the worst maps, seen."""

from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from segkit import storage
from segkit.errors import MapError
from segkit.maps import codec, pixels, snap
from segkit.palette import UNLABELLED, Palette, collisions
from segkit.reports import page
from segkit.reports.findings import PaletteReport
from segkit.reports.map_findings import MapReport

WORST = 12
"""Maps that are shown."""

MOST_PAIRS = 200
"""Pairs that are listed, the nearest of the user's first."""

THUMBNAIL = 320
"""Pixels of a picture's longer side."""

_MARK = (255, 0, 255)


def write(report: PaletteReport, path: Path) -> None:
    """Write the page.

    Raises:
        StorageError: the disk is full.
    """
    findings = _findings(report)
    body = _maps(report) + findings if report.table else findings + _classes(report)
    heading = f"{report.target}: {report.kind}, {len(report.findings)} findings"
    storage.write(path, page.document("segkit check-palette", heading, body).encode())


def _findings(report: PaletteReport) -> str:
    told = [found for found in report.findings if found.severity != "known"]
    if not told:
        return '<p class="soft">Nothing but known quirks of the published palettes.</p>'
    rows = ((escape(found.severity), escape(found.message), f"<code>{escape(found.cure)}</code>") for found in told)
    return "<h2>Findings</h2>\n" + page.table(rows, ("", "found", "cure"), "text")


def _classes(report: PaletteReport) -> str:
    near = sorted(report.pairs, key=lambda pair: (pair.severity == "known", pair.l2))[:MOST_PAIRS]
    free = ((page.swatch(each.hex) + each.hex, f"{each.distance:.2f}") for each in report.suggestions)
    swatches = "\n".join(
        f"<p>{page.swatch(swatch.hex)}{swatch.index} {escape(swatch.name)} <small>{swatch.hex}</small></p>"
        for swatch in report.swatches
    )
    parts = [
        "<h2>Colours for new classes</h2>" + page.table(free, ("colour", "L2")) if report.suggestions else "",
        f"<h2>Like colours: {len(near)} of {len(report.pairs)} pairs</h2>" + _pairs(near) if near else "",
        f'<h2>{len(report.swatches)} classes</h2>\n<section class="classes">{swatches}</section>',
    ]
    return "\n".join(parts)


def _pairs(near: list[collisions.Pair]) -> str:
    header = ("class", "like", "L∞", "CIEDE2000", "safe drift", "", "L2")
    rows = (
        (
            page.swatch(pair.a.hex) + escape(pair.a.name),
            page.swatch(pair.b.hex) + escape(pair.b.name + (f" of {pair.other}" if pair.other else "")),
            f"{pair.linf}",
            f"{pair.ciede2000:.2f}",
            f"{pair.margin:.2f}",
            escape(pair.severity),
            f"{pair.l2:.2f}",
        )
        for pair in near
    )
    return page.table(rows, header)


def _maps(report: PaletteReport) -> str:
    assert report.table
    causes: dict[str, int] = {}
    for found in report.maps:
        causes[found.cause] = causes.get(found.cause, 0) + 1
    rows = ((escape(cause), f"{number:,}") for cause, number in sorted(causes.items(), key=lambda each: -each[1]))
    dirty = [found for found in report.maps if found.cause != "exact"]
    worst = sorted(dirty, key=lambda found: -found.off_palette)[:WORST]
    figures = "\n".join(_figure(found, report.table) for found in worst)
    shown = f"<h2>The {len(worst)} worst: as it is, pixels off the palette marked, mended</h2>" if worst else ""
    return f"""<h2>{len(report.maps):,} maps by cause</h2>
<section class="numbers">{page.table(rows)}</section>
{shown}
<section class="sheet">
{figures}
</section>"""


def _figure(found: MapReport, table: Palette) -> str:
    try:
        image = found.source.read()
    except MapError as error:  # it was there a moment ago
        return f"<figure><figcaption>{escape(found.file)} {escape(str(error))}</figcaption></figure>"
    packed = pixels.pack_image(image)
    seen = _small(Image.fromarray(pixels.unpack(packed)))
    labels, _ = codec.read(image, table)
    marked = _marked(seen, (labels == UNLABELLED) & (packed != 0))
    shown = [page.picture(seen, "as it is", "PNG", "map"), page.picture(marked, "off the palette", "PNG", "map")]
    to = Palette.load("ade20k") if found.cause == "coco" else None
    try:
        mended = snap.snap(image, table, target_palette=to)
        shown.append(page.picture(_small(codec.paint(mended.labels, mended.palette)), "mended", "PNG", "map"))
        reason = found.cure
    except MapError as error:
        reason = str(error)
    return f"""<figure><div>
{"".join(shown)}
</div><figcaption>{escape(found.file)}: {escape(found.cause)}, {found.off_palette:.1%} off the palette<br>
<small>{escape(found.evidence)}</small><br><code>{escape(reason)}</code></figcaption></figure>"""


def _small(image: Image.Image) -> Image.Image:
    scale = min(1.0, THUMBNAIL / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Resampling.NEAREST)


def _marked(seen: Image.Image, off: NDArray[np.bool_]) -> Image.Image:
    """Return a map in pale grey, each spot with a pixel off the palette marked.

    Args:
        seen: the map, made small.
        off: (H, W), as large as the map.
    """
    pale = seen.convert("L").point(lambda level: 160 + level // 4).convert("RGB")
    spots = Image.fromarray(off.astype(np.uint8) * np.uint8(255)).resize(pale.size, Resampling.BOX)
    pale.paste(_MARK, mask=spots.point(lambda level: 255 if level else 0))
    return pale
