"""The palette of a dataset."""

from pathlib import Path

import pytest

from segkit.errors import PaletteError
from segkit.palette import Palette, extend, protocol

ADE = Palette.load("ade20k")


def table(folder: Path, *lines: str, first: str = "") -> str:
    """Write ADE's table with more lines; return its path."""
    text = extend.encode(ADE).decode()
    path = folder / "mine.csv"
    path.write_text((text.replace("0,wall,wall,", first) if first else text) + "".join(f"{line}\n" for line in lines))
    return str(path)


def test_without_a_table_it_is_the_protocols() -> None:
    """ADE20K's or COCO's, as published."""
    assert protocol.load("ade20k").hash == ADE.hash
    assert protocol.load("coco").hash == Palette.load("coco_panoptic").hash


def test_a_table_may_add_classes(tmp_path: Path) -> None:
    """It has its own hash, and begins with the protocol's classes."""
    own = protocol.load("ade20k", table(tmp_path, "150,pergola,,118,254,71"))

    assert own.find("pergola").index == 150
    assert own.hash != ADE.hash
    assert protocol.extends(own, ADE)


def test_a_table_that_clashes_is_refused_with_a_better_colour(tmp_path: Path) -> None:
    """The finding names both classes and the distance; the colour suggested is the farthest."""
    with pytest.raises(PaletteError, match=r"pergola \(150\).*apart.*#76FE47, 73 from all others"):
        protocol.load("ade20k", table(tmp_path, "150,pergola,,121,120,120"))


def test_a_class_that_is_there_under_another_name_is_refused(tmp_path: Path) -> None:
    """ADE's sofa is called couch too: a prompt's or a person's couch would be either."""
    with pytest.raises(PaletteError, match=r"couch means sofa \(23\) and couch \(150\)\. Keep one of them"):
        protocol.load("ade20k", table(tmp_path, "150,couch,,118,254,71"))


def test_a_table_of_other_classes_is_refused(tmp_path: Path) -> None:
    """A network's colours mean its own classes: they must stay."""
    text = "index,name,r,g,b\n0,pergola,118,254,71\n"
    (tmp_path / "mine.csv").write_text(text)

    with pytest.raises(PaletteError, match="does not begin with the 150 classes of ade20k"):
        protocol.load("ade20k", str(tmp_path / "mine.csv"))
    with pytest.raises(PaletteError, match="does not begin with the 133 classes of coco_panoptic"):
        protocol.load("coco", table(tmp_path, "150,pergola,,118,254,71"))
