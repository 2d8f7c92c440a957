"""Swatch files hold every class in its exact colour, as readers that are not ours see them."""

import io
import struct
from pathlib import Path

import pytest
from PIL import GimpPaletteFile, Image

from segkit.palette import Palette, extend, swatches, tables

ADE = Palette.load("ade20k")
MINE = extend.extended(ADE, ["solar panel", "Träger für Dächer"], "mine")
PALETTES = [ADE, MINE, Palette.load("coco_panoptic"), Palette("one", ADE.swatches[:1])]


def read_aco(data: bytes) -> tuple[list[tuple[int, ...]], list[str], list[tuple[int, ...]]]:
    """Return the colours of version 1, and names and colours of version 2 (by Adobe's specification)."""
    blocks = []
    place = 0
    while place < len(data):
        version, count = struct.unpack_from(">HH", data, place)
        place += 4
        colors, names = [], []
        for _ in range(count):
            space, *channels, _unused = struct.unpack_from(">HHHHH", data, place)
            place += 10
            assert space == 0
            colors.append(tuple(channel / 257 for channel in channels))
            if version == 2:
                zero, length = struct.unpack_from(">HH", data, place)
                text = data[place + 4 : place + 4 + 2 * length].decode("utf-16-be")
                place += 4 + 2 * length
                assert zero == 0
                assert text.endswith("\0")
                names.append(text[:-1])
        blocks.append((version, colors, names))
    (first, plain, none), (second, named, names) = blocks
    assert (first, none, second) == (1, [], 2)
    return plain, names, named


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.name)
def test_photoshop_reads_names_and_colors(palette: Palette) -> None:
    """Both versions hold all classes in order."""
    plain, names, named = read_aco(swatches.photoshop(palette))

    assert plain == named == [swatch.rgb for swatch in palette]
    assert names == [swatch.name for swatch in palette]


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.name)
def test_gimp_reads_names_and_colors(palette: Palette, tmp_path: Path) -> None:
    """Pillow's reader finds the colours; segkit's own finds the names too, so the file is a palette table again."""
    data = swatches.gimp(palette)
    (tmp_path / "p.gpl").write_bytes(data)

    colors, mode = GimpPaletteFile.GimpPaletteFile(io.BytesIO(data)).getpalette()
    rows, problems = tables.read(tmp_path / "p.gpl")

    assert mode == "RGB"
    assert [tuple(colors[3 * index : 3 * index + 3]) for index in range(len(palette))] == [s.rgb for s in palette]
    assert ([(row.name, row.rgb) for row in rows], problems) == ([(s.name, s.rgb) for s in palette], [])


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.name)
def test_the_legend_shows_every_color(palette: Palette) -> None:
    """Each class has a swatch of solid colour, with text beside it, and swatches do not overlap."""
    with Image.open(io.BytesIO(swatches.legend(palette))) as page:
        colors = {color: number for number, color in page.convert("RGB").getcolors(1 << 20) or []}
        size = page.size

    for swatch in palette:
        same = sum(other.rgb == swatch.rgb for other in palette)
        assert colors[swatch.rgb] >= 1000 * same
    assert colors[(0, 0, 0)] > 20 * len(palette)
    assert min(size) > 20


def test_classes_that_share_a_color_are_noted() -> None:
    """Road and skyscraper of ADE20K; the legend has one line more for it, and GIMP's file a comment."""
    [note] = swatches.shared(ADE)

    assert note.startswith("skyscraper (48) has the colour of road (6)")
    assert f"# {note}\n".encode() in swatches.gimp(ADE)
    assert swatches.shared(Palette("few", ADE.swatches[:40])) == []
