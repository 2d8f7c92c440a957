"""Loading the palette of a dataset."""

from pathlib import Path

import pytest

from segkit.errors import PaletteError
from segkit.palette import Palette, extend, protocol

ADE = Palette.load("ade20k")


def table(folder: Path, *lines: str, first: str = "") -> str:
    """Write ADE20K's table with additional lines and return its path."""
    text = extend.encode(ADE).decode()
    path = folder / "mine.csv"
    path.write_text((text.replace("0,wall,wall,", first) if first else text) + "".join(f"{line}\n" for line in lines))
    return str(path)


def test_without_a_table_the_palette_is_that_of_the_protocol() -> None:
    """The protocol selects the published ADE20K or COCO palette."""
    assert protocol.load("ade20k").hash == ADE.hash
    assert protocol.load("coco").hash == Palette.load("coco_panoptic").hash


def test_a_table_may_add_classes(tmp_path: Path) -> None:
    """The extended palette has another hash and begins with the classes of the protocol."""
    palette = protocol.load("ade20k", table(tmp_path, "150,pergola,,118,254,71"))

    assert palette.find("pergola").index == 150
    assert palette.hash != ADE.hash
    assert protocol.extends(palette, ADE)


def test_a_table_that_clashes_is_refused_with_a_better_colour(tmp_path: Path) -> None:
    """The error names both classes, their distance and the farthest free colour."""
    with pytest.raises(PaletteError, match=r"pergola \(150\).*apart.*#76FE47, 73 from all others"):
        protocol.load("ade20k", table(tmp_path, "150,pergola,,121,120,120"))


def test_a_class_named_like_an_existing_synonym_is_refused(tmp_path: Path) -> None:
    """Couch is a synonym of ADE20K's sofa, so a new class of that name would be ambiguous."""
    with pytest.raises(PaletteError, match=r"couch means sofa \(23\) and couch \(150\)\. Keep the word for one"):
        protocol.load("ade20k", table(tmp_path, "150,couch,,118,254,71"))


def test_a_table_of_other_classes_is_refused(tmp_path: Path) -> None:
    """A network knows the classes of its protocol, so a palette must begin with them."""
    text = "index,name,r,g,b\n0,pergola,118,254,71\n"
    (tmp_path / "mine.csv").write_text(text)

    with pytest.raises(PaletteError, match="does not begin with the 150 classes of ade20k"):
        protocol.load("ade20k", str(tmp_path / "mine.csv"))
    with pytest.raises(PaletteError, match="does not begin with the 133 classes of coco_panoptic"):
        protocol.load("coco", table(tmp_path, "150,pergola,,118,254,71"))


@pytest.mark.parametrize(
    ("line", "other", "expected"),
    [
        ("23,sofa,couch|lounge,", "23,couch,,", r"sofa \(23\), #0B66FF"),
        ("7,bed,,204,5,255", "7,bed,,204,5,254", r"bed \(7\), #CC05FF"),
        ("149,flag,,92,0,255\n", "", r"flag \(149\), #5C00FF"),
    ],
)
def test_the_first_class_that_differs_is_named(tmp_path: Path, line: str, other: str, expected: str) -> None:
    """A synonym in place of a name, another colour or a missing row would otherwise be searched for in 150 rows."""
    path = Path(table(tmp_path))
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, other))

    with pytest.raises(PaletteError, match=f"the first that differs should be {expected}"):
        protocol.load("ade20k", str(path))
