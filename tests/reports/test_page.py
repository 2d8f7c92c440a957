"""page: templates render with escaping, strict variables and embedded pictures."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
from PIL import Image

from segkit.palette import Swatch
from segkit.problem import Problem
from segkit.reports import page, palette_page
from segkit.reports.findings import PaletteReport

HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert(2)'>{{ 7 * 7 }}{% raw %}&amp;"""
VOID = {"br", "img", "meta"}


class Outline(HTMLParser):
    """Collects the elements and the text of a page, and requires that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element."""
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Record text."""
        self.text += data


def report(name: str) -> PaletteReport:
    """Return a report of one class with this name and one finding about it."""
    finding = Problem("equal-colours", "error", name, f"{name} is wrong.", f"Fix {name}.")
    return PaletteReport(name, "palette", name, [finding], [Swatch(0, name, (), (1, 2, 3))])


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    """Markup, quotes and template syntax in names and messages appear literally and add no element."""
    palette_page.write(report("lawn"), tmp_path / "plain.html")
    palette_page.write(report(HOSTILE), tmp_path / "hostile.html")

    plain, hostile = (Outline((tmp_path / f"{name}.html").read_text()) for name in ("plain", "hostile"))

    assert hostile.tags == plain.tags
    assert hostile.text.count(HOSTILE) == plain.text.count("lawn") == 5
    assert "49" not in hostile.text


def test_alternative_texts_are_escaped() -> None:
    """A quote in a picture's description does not end the attribute."""
    picture = page.embed(Image.new("RGB", (2, 2)), 'a "quoted" <name>')
    values = {"name": "run", "done": 1, "total": 2, "message": "", "best": {}, "scores": [], "charts": []}

    text = page.render("run.html", **values, previews=picture, options=[])

    assert 'alt="a &#34;quoted&#34; &lt;name&gt;"' in text


def test_a_missing_value_is_an_error() -> None:
    """A template never renders a variable that was not passed as an empty string."""
    with pytest.raises(jinja2.UndefinedError, match="'name' is undefined"):
        page.render("run.html", done=1, total=2)


def test_embedded_maps_keep_their_pixels() -> None:
    """A PNG data URI decodes to the same indexed picture."""
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])

    picture = page.embed(image, "control map", "PNG", "map")

    assert (picture.alt, picture.css_class) == ("control map", "map")
    prefix, _, data = picture.uri.partition(",")
    assert prefix == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as decoded:
        assert decoded.mode == "P"
        assert decoded.convert("RGB").tobytes() == image.convert("RGB").tobytes()
