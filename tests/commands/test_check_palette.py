"""segkit check-palette, through the command line."""

import base64
import io
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.maps import codec
from segkit.palette import Palette
from segkit.toy.world import damage
from tests.conftest import Segkit

ADE = Palette.load("ade20k")


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A folder with an exact map and a map with 8 of 64 pixels off the palette."""
    folder = tmp_path / "maps"
    folder.mkdir()
    labels = np.full((8, 8), ADE.find("sky").index, np.uint8)
    labels[4:] = ADE.find("sea").index
    codec.paint(labels, ADE).save(folder / "exact.png")
    rgb = np.array(codec.paint(labels, ADE).convert("RGB"))
    rgb[0] = 255
    Image.fromarray(rgb).save(folder / "off.png")
    return folder


@pytest.mark.parametrize("target", [[], ["ade20k"], ["coco_panoptic"]])
def test_published_palettes_have_only_known_quirks(segkit: Segkit, target: list[str]) -> None:
    """The published palettes, ADE20K by default, have known quirks but no findings."""
    done = segkit("check-palette", *target)

    assert (done.code, done.err) == (0, "")
    assert "No findings" in done.out
    assert "potted plant" in done.out
    assert "known quirks of the published palettes" in done.out


def test_equal_and_near_colours_of_ade_are_named(segkit: Segkit) -> None:
    """Road and skyscraper, grass and bottle are listed with their distances, the closest pair first."""
    shown, as_json = segkit("check-palette"), segkit("check-palette", "--json")

    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.out.splitlines()]
    rows = [line for line in lines if line]
    assert rows[0] == ["road", "skyscraper", "", "0.00", "0", "0.00", "0.00"]
    assert ["grass", "bottle", "", "7.07", "5", "1.03", "3.53"] in rows
    report = json.loads(as_json.out)
    assert (report["pairs"][0]["a"]["name"], report["pairs"][0]["b"]["name"]) == ("road", "skyscraper")
    assert report["jpeg_quality"] == 32


def test_a_clean_table_has_no_finding(segkit: Segkit, tmp_path: Path) -> None:
    """A table whose colours are far from one another, from ADE and from COCO gives exit code 0."""
    (tmp_path / "mine.csv").write_text("name,hex\nsolar panel,A877FF\npergola,FCFF6D\n")

    done = segkit("check-palette", tmp_path / "mine.csv")

    assert done.code == 0
    assert "a palette of 2 classes" in done.out


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ("a,A877FF\nb,A877FF", [], "a (0) and b (1) share #A877FF"),
        ("a,A877FF\nb,A877F8", [], "a (0) and b (1) are 7.00 apart (#A877FF, #A877F8; L∞ 7, CIEDE2000 1.01; safe"),
        ("a,A877FF\nb,A877E1", ["--min-distance", "31"], "a (0) and b (1) are 30.00 apart"),
        ("human,96053D", [], "human (0) and person (12) of ade20k share #96053D"),
        ("human,DC143D", [], "human (0) and person (0) of coco_panoptic are 1.00 apart"),
        ("a,A877FF\nA,FCFF6D", [], "A is the name of classes 0 and 1"),
        ("a,A877FF\nb,A877FG", [], "mine.csv, line 3, column 2 (hex): 'A877FG' is not a colour"),
    ],
)
def test_problems_of_a_table_are_reported(
    segkit: Segkit, tmp_path: Path, rows: str, options: list[str], message: str
) -> None:
    """Equal and close colours (internal or published), repeated names and bad cells give exit code 1."""
    (tmp_path / "mine.csv").write_text(f"name,hex\n{rows}\n")

    done = segkit("check-palette", tmp_path / "mine.csv", *options)

    assert done.code == 1
    assert message in done.out


def ade(**names: str) -> list[str]:
    """Return the lines of a table of ADE20K, with some classes under other names."""
    palette = Palette.load("ade20k")
    return ["name,hex", *(f"{names.get(swatch.name, swatch.name)},{swatch.hex}" for swatch in palette)]


def test_a_synonym_does_not_make_ade_a_table_for_coco(segkit: Segkit, tmp_path: Path) -> None:
    """Couch for sofa changes nothing: no class is told to take a colour of COCO."""
    (tmp_path / "mine.csv").write_text("\n".join(ade(sofa="couch")))

    done = segkit("check-palette", tmp_path / "mine.csv")

    assert (done.code, "in coco_panoptic it is" in done.out) == (0, False)


def test_a_missing_row_is_told(segkit: Segkit, tmp_path: Path) -> None:
    """149 rows of ADE20K shift the classes after the missing one."""
    lines = ade()
    (tmp_path / "mine.csv").write_text("\n".join(lines[:24] + lines[25:]))

    done = segkit("check-palette", tmp_path / "mine.csv", "--json")

    (finding,) = [finding for finding in json.loads(done.out)["findings"] if finding["severity"] != "known"]
    assert (done.code, finding["rule"]) == (1, "missing-class")
    assert "149 of the 150 classes of ade20k; missing: sofa (23); shelf is class 23 here" in finding["message"]


def test_an_unreadable_row_is_not_also_missing(segkit: Segkit, tmp_path: Path) -> None:
    """One fault is one finding."""
    lines = ade()
    lines[24] = "sofa,0B66F"
    (tmp_path / "mine.csv").write_text("\n".join(lines))

    done = segkit("check-palette", tmp_path / "mine.csv", "--json")

    assert [f["rule"] for f in json.loads(done.out)["findings"] if f["severity"] != "known"] == ["unreadable-row"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("table.md", "# Colours\n\n| name | hex |\n|---|---|\n| solar panel | `#A877FF` |\n| pergola | `#FCFF6D` |\n"),
        ("table.txt", "solar panel;168,0;119,0;255,0\npergola;252,0;255,0;109,0\n"),
        ("table.psv", "solar panel|#A877FF\npergola|#FCFF6D\n"),
        ("table.tab", "name\trgb\nsolar panel\trgb(168, 119, 255)\npergola\t252 255 109\n"),
    ],
)
def test_text_files_with_a_table_are_palettes(segkit: Segkit, tmp_path: Path, name: str, text: str) -> None:
    """Markdown and plain text hold tables as well as CSV does."""
    (tmp_path / name).write_text(text)

    done = segkit("check-palette", tmp_path / name)

    assert (done.code, "a palette of 2 classes" in done.out) == (0, True)


def test_pairs_beyond_the_distance_pass(segkit: Segkit, tmp_path: Path) -> None:
    """Colours that are too close by default pass with a smaller --min-distance."""
    (tmp_path / "mine.csv").write_text("name,hex\na,A877FF\nb,A877F8\n")

    done = segkit("check-palette", tmp_path / "mine.csv", "--min-distance", "7")

    assert done.code == 0


def test_an_exact_map_passes_and_its_classes_are_listed(segkit: Segkit, maps: Path) -> None:
    """An exact map gives exit code 0 and a table of its classes."""
    done = segkit("check-palette", maps / "exact.png")

    assert done.code == 0
    assert "sky 50%" in done.out


def test_maps_off_the_palette_are_counted(segkit: Segkit, maps: Path) -> None:
    """A folder with such a map gives exit code 1 and the number of pixels by file."""
    done = segkit("check-palette", maps)

    assert done.code == 1
    assert "off.png: 8 pixels (12.5%) are off the palette ade20k" in done.out


def test_json_is_one_object(segkit: Segkit, maps: Path) -> None:
    """--json prints one object with target, kind, findings, and the off-palette share of each map."""
    done = segkit("check-palette", maps, "--json")

    result = json.loads(done.out)
    assert (done.code, done.err) == (1, "")
    assert (result["target"], result["kind"]) == (str(maps), "folder")
    assert [(finding["rule"], finding["severity"], finding["place"]) for finding in result["findings"]] == [
        ("off-palette", "error", "off.png")
    ]
    assert {checked["file"]: checked["off_palette"] for checked in result["maps"]} == {"exact.png": 0, "off.png": 0.125}


def test_json_of_a_table_has_no_maps(segkit: Segkit) -> None:
    """For a palette the object has the same keys and an empty list of maps."""
    result = json.loads(segkit("check-palette", "--json").out)

    assert (result["target"], result["kind"], result["maps"]) == ("ade20k", "palette", [])
    assert {finding["severity"] for finding in result["findings"]} == {"known"}


def test_a_new_dataset_is_clean(segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path) -> None:
    """The maps written by build-dataset are exact."""
    segkit("build-dataset", six_photos, "-o", tmp_path / "rooms", *build_options, "--no-caption", "--limit", 2)

    done = segkit("check-palette", tmp_path / "rooms", "--json")

    result = json.loads(done.out)
    assert (done.code, result["kind"], result["findings"]) == (0, "dataset", [])
    assert [checked["off_palette"] for checked in result["maps"]] == [0, 0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"], ["nothing.csv"], ["nothing.png"], ["text.md"], ["/dev/null"], [""], ["a\nb"], ["\x1b[31m"],
        ["--", "-rf.csv"], ["x" * 300], ["x" * 300 + ".csv"], ["a", "b"],
        ["--min-distance", "nan"], ["--min-distance", "-1"], ["--min-distance", "far"],
    ],
)  # fmt: skip
def test_invalid_arguments_are_refused(
    segkit: Segkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Unknown targets and invalid distances give exit code 2 and one clear line."""
    monkeypatch.chdir(tmp_path)
    Path("text.md").write_text("hello")

    done = segkit("check-palette", *arguments)

    assert (done.code, done.out) == (2, "")
    assert len([line for line in done.err.splitlines() if line and not line.startswith(("Usage:", "Try "))]) == 1
    assert "Traceback" not in done.err
    assert "\x1b" not in done.err
    assert "segkit failed" not in done.err


def test_causes_are_reported_with_their_cure(segkit: Segkit, tmp_path: Path) -> None:
    """The JSON output names the cause of each map of a folder; the cure is a command that repairs it."""
    truth = damage.place(3, 9, 256)
    damage.painted(truth).save(tmp_path / "exact.png")
    damage.by("shifted", truth).save(tmp_path / "shifted.png")
    damage.outlined(truth).save(tmp_path / "out lined.png")
    damage.painted(truth).convert("L").save(tmp_path / "grey.png")

    done = segkit("check-palette", tmp_path, "--json")

    maps = {checked["file"]: checked for checked in json.loads(done.out)["maps"]}
    assert done.code == 1
    assert {name: checked["cause"] for name, checked in maps.items()} == {
        "exact.png": "exact",
        "shifted.png": "shifted",
        "out lined.png": "outlined",
        "grey.png": "greyscale",
    }
    assert maps["exact.png"]["cure"] == ""
    assert maps["out lined.png"]["off_palette"] > 0
    cure = shlex.split(maps["out lined.png"]["cure"])
    assert cure[:2] == ["segkit", "snap"]
    assert segkit(*cure[1:-1], tmp_path / "repaired.png").code == 0
    shown = segkit("check-palette", tmp_path)
    assert "1 outlined" in shown.out
    assert "white lines were drawn between the areas" in " ".join(shown.out.split())


def test_a_map_that_does_not_open_is_one_finding(segkit: Segkit, tmp_path: Path) -> None:
    """A file that is not an image gives a finding with its cure on a line of its own, and no empty list of causes."""
    (tmp_path / "broken.png").write_bytes(b"not an image")

    done = segkit("check-palette", tmp_path / "broken.png")

    error, cure = done.out.splitlines()[1:3]
    assert done.code == 1
    assert "broken.png: a map, no map could be read." in done.out
    assert "Causes" not in done.out
    assert error.startswith("error   ")
    assert cure.startswith("        ")
    assert cure.strip()


def test_colours_for_new_classes_are_suggested(segkit: Segkit) -> None:
    """The exact farthest colours are printed with their distances, as a table and as JSON."""
    shown, as_json = segkit("check-palette", "--suggest", 2), segkit("check-palette", "--suggest", 2, "--json")

    assert (shown.code, as_json.code) == (0, 0)
    assert "#76FE47" in shown.out
    assert "72.57" in shown.out
    assert [free["colour"] for free in json.loads(as_json.out)["suggestions"]] == ["#76FE47", "#C4FF4B"]


def test_a_palette_is_extended(segkit: Segkit, tmp_path: Path) -> None:
    """--extend writes a table without findings and does not overwrite it."""
    command = ["check-palette", "--extend", tmp_path / "mine.csv", "--add", "solar panel", "--add", "pergola"]

    done, again = segkit(*command), segkit(*command)

    assert done.code == 0
    assert f"Written: {tmp_path / 'mine.csv'}" in done.out
    assert Palette.load(tmp_path / "mine.csv").find("pergola").index == 151
    assert segkit("check-palette", tmp_path / "mine.csv").code == 0
    assert again.code == 2
    assert "already exists" in again.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--add", "pergola"], "go together"),
        (["--extend", "mine.csv"], "go together"),
        (["--extend", "mine.txt", "--add", "pergola"], "ends in .csv"),
        (["--extend", "mine.csv", "--add", "sky"], "is already class 2 of ade20k"),
        (["map.png", "--suggest", "2"], "Name a palette table or omit it"),
    ],
)
def test_invalid_requests_for_new_classes_are_refused(
    segkit: Segkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """The error states the mistake, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    codec.paint(np.zeros((4, 4), np.uint8), ADE).save("map.png")

    done = segkit("check-palette", *arguments)

    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert not list(tmp_path.glob("mine*"))


def test_a_table_is_compared_with_the_requested_palettes(segkit: Segkit, tmp_path: Path) -> None:
    """--against accepts ADE and COCO, one of them, a custom table, or nothing."""
    (tmp_path / "mine.csv").write_text("name,hex\nhuman,96053D\n")
    (tmp_path / "other.csv").write_text("name,hex\nalien,960540\n")

    def output(*against: object) -> str:
        return segkit("check-palette", tmp_path / "mine.csv", *against).out

    assert "person (12) of ade20k share" in output()
    assert "No findings" in output("--against", "coco_panoptic")
    assert "alien (0) of other are 3.00 apart" in output("--against", tmp_path / "other.csv")
    assert "No findings" in output("--against", "")
    assert segkit("check-palette", "--against", "pascal").code == 2


def test_maps_are_checked_against_the_given_palette(segkit: Segkit, tmp_path: Path) -> None:
    """A COCO map is exact with COCO's palette; with ADE's it is recognised as COCO."""
    coco = Palette.load("coco_panoptic")
    damage.painted(damage.regions(2, 9, 96, coco), coco).save(tmp_path / "map.png")

    assert segkit("check-palette", tmp_path / "map.png", "--palette", "coco_panoptic").code == 0
    assert "the colours are COCO's" in " ".join(segkit("check-palette", tmp_path / "map.png").out.split())


def test_a_page_shows_a_table(segkit: Segkit, tmp_path: Path) -> None:
    """--html shows swatches, pairs and findings, escapes names and overwrites nothing."""
    (tmp_path / "mine.csv").write_text("name,hex\n<b>lawn</b>,#646464\npond,#676864\n")
    command = ["check-palette", tmp_path / "mine.csv", "--suggest", 1, "--html", tmp_path / "report.html"]

    done, again = segkit(*command), segkit(*command)

    text = (tmp_path / "report.html").read_text()
    assert (done.code, again.code) == (1, 2)
    assert f"Written: {tmp_path / 'report.html'}" in done.out
    assert "already exists" in again.err
    assert "&lt;b&gt;lawn&lt;/b&gt;" in text
    assert "<b>" not in text
    assert {"background:#646464", "background:#676864", "background:#76FE47"} <= set(
        re.findall("background:#......", text)
    )
    assert "default-src 'none'" in text


def test_a_page_shows_the_worst_maps(segkit: Segkit, tmp_path: Path) -> None:
    """--html shows each map as it is, with off-palette pixels marked, and repaired if that is possible."""
    truth = damage.place(3, 9, 256)
    (tmp_path / "maps").mkdir()
    damage.painted(truth).save(tmp_path / "maps" / "exact.png")
    damage.outlined(truth).save(tmp_path / "maps" / "<i>out.png")
    damage.painted(truth).convert("L").save(tmp_path / "maps" / "grey.png")

    done = segkit("check-palette", tmp_path / "maps", "--html", tmp_path / "report.html")

    text = (tmp_path / "report.html").read_text()
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"base64,([^\"]+)", text)]
    grey, outlined = text.index("grey.png: greyscale"), text.index("&lt;i&gt;out.png: outlined")
    assert done.code == 1
    assert grey < outlined
    assert "<i>out" not in text
    assert len(pictures) == 5
    original, marked, repaired = (np.asarray(picture.convert("RGB")) for picture in pictures[2:])
    off = (marked == (255, 0, 255)).all(-1)
    blended = codec.read(Image.fromarray(original), ADE)[0] == 255
    assert (off == blended).all()
    assert (codec.read(Image.fromarray(repaired), ADE)[0] == truth).mean() > 0.99


def test_an_extended_palette_shows_its_new_classes(segkit: Segkit, tmp_path: Path) -> None:
    """In their colours, with the next command, and without the known pairs of the palette it extends."""
    mine = tmp_path / "my classes.csv"

    shown = segkit("check-palette", "--extend", mine, "--add", "solar panel", "--add", "pergola")

    assert shown.code == 0
    assert len(shown.out.splitlines()) <= 10
    for swatch in list(Palette.load(mine))[150:]:
        row = next(line for line in shown.out.splitlines() if swatch.name in line)
        assert all(word in row for word in (str(swatch.index), swatch.hex, str(swatch.rgb)))
    assert shown.out.splitlines()[-1] == f"Next: segkit build-dataset PHOTOS --palette '{mine}'"


def test_nothing_is_written_beside_a_wrong_name(segkit: Segkit, tmp_path: Path) -> None:
    """All names are checked first: the corrected command does not meet a file of the one that was refused."""
    command = ["check-palette", "--extend", tmp_path / "mine.csv", "--add", "pergola", "--swatches"]

    refused, corrected = segkit(*command, tmp_path / "mine.bmp"), segkit(*command, tmp_path / "mine.png")

    assert refused.code == 2
    assert "ends in .gpl or .aco or .png" in refused.err
    assert corrected.code == 0


def test_swatches_are_written_by_the_ending(segkit: Segkit, tmp_path: Path) -> None:
    """Also of a palette that is extended in the same command; other endings and existing files are refused."""
    mine = tmp_path / "mine.csv"

    extended = segkit("check-palette", "--extend", mine, "--add", "solar panel", "--swatches", tmp_path / "mine.gpl")
    both = segkit("check-palette", mine, "--swatches", tmp_path / "mine.aco", "--swatches", tmp_path / "mine.png")
    other = segkit("check-palette", mine, "--swatches", tmp_path / "new.gpl", "--swatches", tmp_path / "mine.ase")
    again = segkit("check-palette", mine, "--swatches", tmp_path / "mine.png")

    assert f"Written: {tmp_path / 'mine.gpl'}" in extended.out
    assert both.out.splitlines()[-2:] == [f"Written: {tmp_path / name}" for name in ("mine.aco", "mine.png")]
    assert Palette.load(tmp_path / "mine.gpl")[150].name == "solar panel"
    assert (tmp_path / "mine.aco").read_bytes()[:4] == bytes((0, 1, 0, 151))
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    assert (other.code, again.code) == (2, 2)
    assert not (tmp_path / "new.gpl").exists()
    assert "expected a name that ends in .gpl or .aco or .png" in other.err
    assert "already exists" in again.err


def test_a_table_that_counts_from_one_is_said_to(segkit: Segkit, tmp_path: Path) -> None:
    """In one line, since the pixels of maps count from 0; it is no finding."""
    (tmp_path / "two.csv").write_text("index,name,r,g,b\n1,porch,1,99,3\n2,attic,250,90,3\n")

    shown = segkit("check-palette", tmp_path / "two.csv", "--against", "")

    assert shown.code == 0
    assert "numbers its classes from 1 to 2; they are read as 0 to 1, the values of a map's pixels." in shown.out
    assert "numbers its classes" not in segkit("check-palette").out
