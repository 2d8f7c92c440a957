"""Other tools' folders: read directly, their maps checked first; through the command line where it trains."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.errors import DatasetError, MapError
from segkit.maps import codec
from segkit.palette import Palette
from tests.conftest import Segkit
from tests.trainer.runs import log, words
from trainer.data import examples

ADE = Palette.load("ade20k")
LAYOUTS = ["fill50k", "imagefolder", "kohya"]


def write(folder: Path, layout: str, jpeg: bool = False) -> Path:
    """Write three triples in a layout: photos of 96 x 64, and maps of them, well or badly saved."""
    photos, controls = {"fill50k": ("target", "source"), "imagefolder": ("a", "b"), "kohya": ("img", "cond")}[layout]
    lines = []
    for number in range(3):
        random = np.random.default_rng(number)
        areas = np.asarray(Image.fromarray(random.integers(0, 150, (2, 3), np.uint8)).resize((96, 64), 0))
        photo = folder / photos / f"{number}.png"
        painted = (folder / controls / f"{number}").with_suffix(".jpg" if jpeg else ".png")
        for path in (photo, painted):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (64, 96, 3), np.uint8)).save(photo)
        codec.paint(areas, ADE).convert("RGB").save(painted)
        names = {"photo": f"{photos}/{number}.png", "map": f"{controls}/{painted.name}"}
        if layout == "kohya":
            photo.with_suffix(".txt").write_text(f"picture {number}\n")
        elif layout == "fill50k":
            lines.append({"source": names["map"], "target": names["photo"], "prompt": f"picture {number}"})
        else:
            own = {"file_name": names["photo"], "conditioning_image_file_name": names["map"]}
            lines.append({**own, "text": f"picture {number}"})
    name = {"fill50k": "prompt.json", "imagefolder": "metadata.jsonl", "kohya": ""}[layout]
    if name:
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_trained_on(layout: str, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Every triple with its prompt; the run's card says by which palette."""
    folder = write(tmp_path / "data", layout)
    found = examples.find(folder)
    done = segkit(*words(folder, base, tmp_path / "run", steps=2))

    assert (done.code, done.err) == (0, "")
    assert len(log(tmp_path / "run")) == 2
    assert (found.layout, [each.text for each in found.train]) == (layout, [f"picture {number}" for number in range(3)])
    assert {(each.width, each.height) for each in found.train} == {(96, 64)}
    assert ADE.hash in (tmp_path / "run" / "model-card.md").read_text()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_off_the_palette_are_refused_unless_asked_for(
    layout: str, base: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """Saved as JPEG: the finding with its cure. With --allow-any-control they are pictures like any other."""
    folder = write(tmp_path / "data", layout, jpeg=True)
    refused = segkit(*words(folder, base, tmp_path / "run", steps=1))
    allowed = segkit(*words(folder, base, tmp_path / "run", steps=1, allow_any_control=True))

    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "3 errors, so nothing was trained." in refused.err
    assert "segkit snap" in refused.err
    assert "--allow-any-control" in refused.err
    assert (allowed.code, allowed.err) == (0, "")
    assert "| palette | none |" in (tmp_path / "run" / "model-card.md").read_text()


@pytest.mark.parametrize(
    ("layout", "fault", "told"),
    [
        ("fill50k", "outside", "is no name of a file in this folder"),
        ("imagefolder", "outside", "is no name of a file in this folder"),
        ("fill50k", "gone", "is not there; line 2 of the list names it"),
        ("imagefolder", "gone", "is not there; line 2 of the list names it"),
        ("kohya", "gone", "1 names stand in img/ or cond/ alone, such as 1"),
        ("fill50k", "shape", "64 x 64 pixels, the photo 96 x 64. Expected the same shape"),
        ("kohya", "damaged", "does not open"),
        ("fill50k", "no json", "cannot be read"),
        ("imagefolder", "keys", "expected file_name and a ..._file_name"),
    ],
)
def test_faults_of_other_folders_are_told(layout: str, fault: str, told: str, tmp_path: Path) -> None:
    """One line, before anything is loaded."""
    folder = write(tmp_path / "data", layout)
    painted = folder / {"fill50k": "source", "imagefolder": "b", "kohya": "cond"}[layout] / "1.png"
    listed = folder / ("prompt.json" if layout == "fill50k" else "metadata.jsonl")
    if fault == "outside":
        (tmp_path / "secret.png").write_bytes(painted.read_bytes())
        listed.write_text(listed.read_text().replace(f"{painted.parent.name}/1.png", "../secret.png"))
    elif fault == "gone":
        painted.unlink()
    elif fault == "shape":
        Image.new("RGB", (64, 64)).save(painted)
    elif fault == "damaged":
        painted.write_bytes(b"\x89PNG rubbish")
    elif fault == "no json":
        listed.write_text("source,target")
    else:
        listed.write_text('{"image": "a/0.png"}\n')

    with pytest.raises((DatasetError, MapError)) as refused:
        examples.find(folder)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_photo_that_lies_on_its_side_is_set_upright(base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """By its EXIF, as Hugging Face's datasets does; the map stands as it is."""
    folder = write(tmp_path / "data", "imagefolder")
    for path in (folder / "a").iterdir():
        with Image.open(path) as photo:
            exif = photo.getexif()
            exif[0x0112] = 6
            photo.rotate(90, expand=True).save(path, exif=exif)

    found = examples.find(folder)
    assert {(each.width, each.height) for each in found.train} == {(96, 64)}
    assert segkit(*words(folder, base, tmp_path / "run", steps=1)).code == 0


def test_prompts_that_are_cut_are_told(base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Never in silence: CLIP reads 77 tokens."""
    folder = write(tmp_path / "data", "kohya")
    (folder / "img" / "1.txt").write_text("word " * 90)
    done = segkit(*words(folder, base, tmp_path / "run", steps=1))
    assert "1 prompts exceed CLIP's 77 tokens" in done.out


def test_a_table_of_ones_own_may_paint_the_maps(tmp_path: Path) -> None:
    """Colours that are none of ADE's are refused without it."""
    (tmp_path / "mine.csv").write_text("index,name,r,g,b\n0,left,10,20,30\n1,right,200,100,50\n")
    table = Palette.load(tmp_path / "mine.csv")
    folder = write(tmp_path / "data", "kohya")
    for path in (folder / "cond").iterdir():
        path.write_bytes(codec.encode(np.tile(np.arange(96, dtype=np.uint8) // 48, (64, 1)), table))

    with pytest.raises(DatasetError, match="3 errors"):
        examples.find(folder)
    assert examples.find(folder, str(tmp_path / "mine.csv")).palette == table
