"""Palettes: the published tables, and finding classes by name."""

import hashlib
from itertools import combinations
from pathlib import Path

import pytest

from segkit.errors import PaletteError
from segkit.palette import SHIPPED, Palette, color
from segkit.palette.tables import Swatch

ADE = Palette.load("ade20k")
COCO = Palette.load("coco_panoptic")

AS_PUBLISHED = {
    "ade20k": (150, 149, "46fdd086a3c1c29178bbcb060aa3c818e594ca8ca76a72a0d808c54f9c688d1e"),
    "coco_panoptic": (133, 133, "ff25037280a013e99530c9b8ffa808f04b2930c795c3668d87b636a6f2185759"),
}
"""Number of classes, number of distinct colours, and SHA-256 of the lines "index,name,r,g,b" of the published list."""


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_tables_match_the_published_ones(name: str) -> None:
    """Every index, name and colour is as published."""
    palette = Palette.load(name)
    lines = "".join(f"{s.index},{s.name},{s.rgb[0]},{s.rgb[1]},{s.rgb[2]}\n" for s in palette)

    digest = hashlib.sha256(lines.encode()).hexdigest()

    assert (len(palette), len({s.rgb for s in palette}), digest) == AS_PUBLISHED[name]


def test_ade_has_its_known_features() -> None:
    """Wall comes first, road and skyscraper share a colour, grass and bottle are the closest others, black is far."""
    pairs = sorted((color.distance(a.rgb, b.rgb), a.name, b.name) for a, b in combinations(ADE, 2))
    from_black = min((color.distance(swatch.rgb, (0, 0, 0)), swatch.name) for swatch in ADE)

    assert (ADE[0].name, ADE[0].rgb) == ("wall", (120, 120, 120))
    assert ADE.find("road").rgb == ADE.find("skyscraper").rgb == (140, 140, 140)
    assert [(round(gap, 2), a, b) for gap, a, b in pairs[:2]] == [(0, "road", "skyscraper"), (7.07, "grass", "bottle")]
    assert (round(from_black[0], 1), from_black[1]) == (106.8, "floor")


def test_ade_and_coco_share_one_colour() -> None:
    """Van in ADE20K and potted plant in COCO are the only exact collision of the two protocols."""
    shared = [(a.name, b.name) for a in ADE for b in COCO if a.rgb == b.rgb]

    assert shared == [("van", "potted plant")]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("window", 8), ("tub", 37), ("rail", 38), ("street lamp", 87), ("tv", 89), ("plane", 90), ("clothes", 92),
        ("pool", 109), ("falls", 113), ("trash can", 138), ("Trash_Can ", 138), ("TRASH-can", 138), ("wall", 0),
    ],
)  # fmt: skip
def test_names_used_by_other_tools_are_known(name: str, index: int) -> None:
    """Common names of ADE20K classes find them, regardless of case, spaces, hyphens and underscores."""
    assert ADE.find(name).index == index


@pytest.mark.parametrize(("name", "index"), [("counter", 45), ("screen", 130), ("pot", 125), ("stool", 110)])
def test_primary_names_take_precedence_over_synonyms(name: str, index: int) -> None:
    """A word that is the name of one class and a synonym of another refers to the former."""
    assert ADE.find(name).index == index


def test_every_primary_name_finds_its_class() -> None:
    """In both palettes each class is found by its primary name."""
    assert [ADE.find(swatch.name) for swatch in ADE] == list(ADE)
    assert [COCO.find(swatch.name) for swatch in COCO] == list(COCO)


def test_ambiguous_synonyms_are_refused_with_the_candidates() -> None:
    """The error lists each candidate with its index."""
    with pytest.raises(PaletteError, match=r"earth \(13\) or land \(94\)"):
        ADE.find("ground")


@pytest.mark.parametrize(
    ("name", "hint"), [("sofaa", "Did you mean sofa"), ("zzz", "such as wall or flag"), ("", "such as wall or flag")]
)
def test_unknown_names_are_refused_with_similar_ones(name: str, hint: str) -> None:
    """The error suggests similar names, or examples."""
    with pytest.raises(PaletteError, match=hint):
        ADE.find(name)


def swatches(*names: str) -> tuple[Swatch, ...]:
    """Return classes with these names in distinct colours."""
    return tuple(Swatch(index, name, (), (index % 256, index // 256, 1)) for index, name in enumerate(names))


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        ((), "0 classes; expected 1 to 255"),
        (swatches(*map(str, range(256))), "256 classes; expected 1 to 255"),
        (swatches("a", "b", "c")[1:], "no class has index 0"),
        (swatches("swimming pool", "Swimming_Pool"), "2 classes are called swimming pool"),
    ],
)
def test_a_palette_is_validated_on_construction(classes: tuple[Swatch, ...], reason: str) -> None:
    """Gaps, repeated names, no classes and too many classes are refused."""
    with pytest.raises(PaletteError, match=reason):
        Palette("mine", classes)


def test_a_shared_colour_maps_to_the_lowest_index() -> None:
    """The colour of road and skyscraper maps to road."""
    assert ADE.by_color[140, 140, 140] == 6


def test_the_hash_covers_names_and_colours() -> None:
    """It ignores synonyms and the name of the palette, and changes with the name of a class."""
    plain, renamed = Palette("a", swatches("wall", "sky")), Palette("a", swatches("wall", "tree"))
    with_synonym = Palette("b", (plain[0], Swatch(1, "sky", ("heaven",), plain[1].rgb)))

    assert plain.hash == with_synonym.hash != renamed.hash


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("ade", "'ade' is not a palette. Expected ade20k, coco_panoptic or a table"),
        ("missing.csv", "no such file"),
        ("bad.csv", "line 2, column 2 \\(r\\): '999' is not a channel value.* And 1 more: segkit check-palette"),
        ("repeated.csv", "2 classes are called wall"),
    ],
)
def test_an_unusable_palette_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, reason: str
) -> None:
    """An unknown name, a missing file and a faulty table are refused with the first fault."""
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("name,r,g,b\nwall,999,1,1\nsky,1,1,-1\n")
    Path("repeated.csv").write_text("name,r,g,b\nwall,9,1,1\nWall,1,1,1\n")

    with pytest.raises(PaletteError, match=reason):
        Palette.load(source)


def test_a_table_loads_by_its_path(tmp_path: Path) -> None:
    """A user's table becomes a palette named after the file."""
    path = tmp_path / "garden.csv"
    path.write_text("name,hex\nlawn,00FF00\n")

    palette = Palette.load(path)

    assert (palette.name, [swatch.rgb for swatch in palette]) == ("garden", [(0, 255, 0)])


def test_lists_of_synonyms_become_name_and_synonyms(tmp_path: Path) -> None:
    """ADE20K's own list names classes so; a comma in the name of another class stays."""
    lines = [f'"{", ".join(dict.fromkeys((s.name, *s.synonyms)))}",{s.hex}\n' for s in ADE]
    path = tmp_path / "mine.csv"
    path.write_text("name,hex\n" + "".join(lines) + '"table, round",#A877FF\n')

    palette = Palette.load(path)

    assert palette.swatches[:150] == ADE.swatches
    assert palette[150].name == "table, round"
