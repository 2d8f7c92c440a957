"""Parts of a self-contained HTML page: needs no network, runs no script, and text stays text."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO

from PIL import Image

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p.soft, figcaption small { color: var(--soft); } code { overflow-wrap: anywhere; }
section { display: grid; gap: 1.5rem 2.5rem; align-items: start; }
section.numbers { grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); }
section.sheet { grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); }
section.classes { columns: 220px; display: block; } section.classes p { margin: 0; break-inside: avoid; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; }
td { border-bottom: 1px solid var(--line); padding: .2rem .4rem .2rem 0; }
td, th { vertical-align: top; padding-right: 1rem; }
td:last-child { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
table.text td:last-child { text-align: left; white-space: normal; }
i { display: inline-block; width: 1em; height: 1em; margin-right: .5em; vertical-align: -.15em; outline: 1px solid; }
figure { margin: 0; overflow-wrap: anywhere; } figure div { display: flex; gap: 4px; align-items: start; }
figure img { width: calc((100% - 8px) / 3); height: auto; } figure img.map { image-rendering: pixelated; }
img.sheet { max-width: 100%; } section.curves { grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); }
section.curves h2 { font-weight: normal; font-size: 1rem; } svg { width: 100%; font-size: 12px; fill: var(--soft); }
svg polyline { fill: none; stroke: #2a78c8; stroke-width: 1.6; } svg polyline.thin { stroke-width: .5; opacity: .5; }
svg path { stroke: var(--line); } svg polygon { fill: #2a78c833; }
@media (max-width: 600px) { section.sheet { grid-template-columns: 1fr; } }
"""


def document(title: str, heading: str, body: str) -> str:
    """Return a whole page.

    Args:
        title: of the window, as text.
        heading: the first line, as text.
        body: HTML.
    """
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<h1>{escape(heading)}</h1>
{body}
</html>
"""


def table(rows: Iterable[Sequence[str]], header: Sequence[str] = (), css: str = "") -> str:
    """Return a table; cells are HTML, the header is text. Its last column holds numbers, unless css is "text"."""
    first = "<tr>" + "".join(f"<th>{escape(name)}" for name in header) if header else ""
    start = f'<table class="{css}">' if css else "<table>"
    return start + first + "".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows) + "</table>"


def swatch(color: str) -> str:
    """Return a small area of a colour, "#RRGGBB"."""
    return f'<i style="background:{color}"></i>'


def picture(image: Image.Image, alt: str, kind: str = "JPEG", css: str = "") -> str:
    """Return a picture that stands in the page itself.

    Args:
        image: as large as it is to be stored.
        alt: what it shows.
        kind: "JPEG" for photos, "PNG" for maps.
        css: its class.
    """
    buffer = BytesIO()
    image.save(buffer, kind)
    data = b64encode(buffer.getvalue()).decode()
    attribute = f' class="{css}"' if css else ""
    return f'<img{attribute} src="data:image/{kind.lower()};base64,{data}" alt="{escape(alt)}">'
