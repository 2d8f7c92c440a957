"""Painting schemes: the right colours, and those of tools that paint wrongly."""

from segkit.maps import schemes
from segkit.palette import UNLABELLED, Palette

ADE, COCO = Palette.load("ade20k"), Palette.load("coco_panoptic")


def test_golden_angle_colours_match_the_tool() -> None:
    """They start with black, followed by the colours that OpenCV 5 computes for the hues."""
    assert [schemes.golden_angle_color(index) for index in (0, 1, 2, 3, 149)] == [
        (0, 0, 0),
        (51, 255, 105),
        (101, 0, 178),
        (255, 235, 102),
        (255, 0, 136),
    ]


def test_the_right_scheme_comes_first() -> None:
    """Maps of ADE20K may also be COCO maps; those of COCO itself are not listed twice."""
    names = [scheme.name for scheme in schemes.known(ADE)]

    assert names == ["exact", "shifted", "bgr", "coco", "golden-angle"]
    assert [scheme.name for scheme in schemes.known(COCO)] == ["exact", "shifted", "bgr", "golden-angle"]


def test_each_scheme_maps_its_colours_to_classes() -> None:
    """Shifted maps paint a class in the colour before it, and black is a class there and nowhere else."""
    exact, shifted, bgr, coco, _ = (
        dict(zip(scheme.colors, scheme.classes, strict=True)) for scheme in schemes.known(ADE)
    )

    tree = ADE.find("tree")
    assert exact[tree.rgb] == bgr[tree.rgb[::-1]] == tree.index
    assert shifted[tree.rgb] == tree.index + 1
    assert coco[COCO.find("cat").rgb] == COCO.find("cat").index
    black = (0, 0, 0)
    assert (exact[black], shifted[black], bgr[black], coco[black]) == (UNLABELLED, 0, UNLABELLED, UNLABELLED)


def test_a_shared_colour_counts_as_the_lowest_class() -> None:
    """Road and skyscraper of ADE20K have one colour, which reads as road."""
    exact = schemes.known(ADE)[0]
    road, skyscraper = ADE.find("road"), ADE.find("skyscraper")

    assert road.rgb == skyscraper.rgb
    assert exact.classes[exact.colors.index(road.rgb)] == road.index
    assert skyscraper.index not in exact.classes
