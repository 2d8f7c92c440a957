"""Datasets of other tools are trained on as they are, and their maps are checked first."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from segkit.dataset import Dataset
from segkit.dataset.triple import UNDRAWN
from segkit.errors import DatasetError, MapError, UsageError
from segkit.maps import codec
from segkit.maps.strokes import Stroke
from segkit.palette import Palette
from tests.conftest import Segkit
from tests.trainer.runs import log, words
from trainer.data import examples

ADE = Palette.load("ade20k")
LAYOUTS = ["fill50k", "imagefolder", "kohya"]


def write(folder: Path, layout: str, jpeg: bool = False) -> Path:
    """Write three triples in a layout: photos of 96 x 64 and their maps, lossless or as JPEG."""
    photos, controls = {"fill50k": ("target", "source"), "imagefolder": ("a", "b"), "kohya": ("img", "cond")}[layout]
    lines = []
    for number in range(3):
        random = np.random.default_rng(number)
        labels = np.asarray(Image.fromarray(random.integers(0, 150, (2, 3), np.uint8)).resize((96, 64), 0))
        photo = folder / photos / f"{number}.png"
        control_map = (folder / controls / f"{number}").with_suffix(".jpg" if jpeg else ".png")
        for path in (photo, control_map):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (64, 96, 3), np.uint8)).save(photo)
        codec.paint(labels, ADE).convert("RGB").save(control_map)
        names = {"photo": f"{photos}/{number}.png", "map": f"{controls}/{control_map.name}"}
        if layout == "kohya":
            photo.with_suffix(".txt").write_text(f"picture {number}\n")
        elif layout == "fill50k":
            lines.append({"source": names["map"], "target": names["photo"], "prompt": f"picture {number}"})
        else:
            files = {"file_name": names["photo"], "conditioning_image_file_name": names["map"]}
            lines.append({**files, "text": f"picture {number}"})
    name = {"fill50k": "prompt.json", "imagefolder": "metadata.jsonl", "kohya": ""}[layout]
    if name:
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_trained_on(layout: str, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Every triple is found with its prompt and size, a run finishes, and its model card names the palette."""
    folder = write(tmp_path / "data", layout)
    data = examples.find(folder)
    done = segkit(*words(folder, base, tmp_path / "run", steps=2))

    assert (done.code, done.err) == (0, "")
    assert len(log(tmp_path / "run")) == 2
    texts = [example.text for example in data.train]
    assert (data.layout, texts) == (layout, [f"picture {number}" for number in range(3)])
    assert {(example.width, example.height) for example in data.train} == {(96, 64)}
    assert ADE.hash in (tmp_path / "run" / "model-card.md").read_text()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_off_the_palette_are_refused_unless_asked_for(
    layout: str, base: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """Maps saved as JPEG are refused with a cure; --allow-any-control accepts them as ordinary pictures."""
    folder = write(tmp_path / "data", layout, jpeg=True)
    refused = segkit(*words(folder, base, tmp_path / "run", steps=1))
    allowed = segkit(*words(folder, base, tmp_path / "run", steps=1, allow_any_control=True))

    assert refused.code == 2
    assert refused.err.count("are off the palette ade20k") == 4  # each map, and the first again in the message
    assert "3 errors, so nothing was trained." in refused.err.splitlines()[-1]
    where = "--in-place" if layout == "kohya" else "-o repaired"
    assert f"Repair the maps with: segkit snap {folder} {where} ," in refused.err
    assert refused.err.count("segkit snap") == 1
    assert "--allow-any-control" in refused.err
    assert (allowed.code, allowed.err) == (0, "")
    assert "| palette | none |" in (tmp_path / "run" / "model-card.md").read_text()


@pytest.mark.parametrize(
    ("layout", "fault", "message"),
    [
        ("fill50k", "outside", "does not name a file in this folder"),
        ("imagefolder", "outside", "does not name a file in this folder"),
        ("fill50k", "gone", "1.png: does not exist; {listed}, line 2 names it"),
        ("imagefolder", "gone", "1.png: does not exist; {listed}, line 2 names it"),
        ("kohya", "gone", "1.png has no map in cond/. Add or remove it."),
        ("fill50k", "shape", "64 x 64 pixels, but its photo has 96 x 64. Expected the same shape"),
        ("kohya", "damaged", "1.png: does not open"),
        ("fill50k", "no json", "cannot be read"),
        ("imagefolder", "keys", "its metadata has the columns image. Expected file_name"),
    ],
)
def test_faulty_folders_are_refused(layout: str, fault: str, message: str, tmp_path: Path) -> None:
    """Each fault is one line that names the file."""
    folder = write(tmp_path / "data", layout)
    control_map = folder / {"fill50k": "source", "imagefolder": "b", "kohya": "cond"}[layout] / "1.png"
    listed = folder / ("prompt.json" if layout == "fill50k" else "metadata.jsonl")
    if fault == "outside":
        (tmp_path / "secret.png").write_bytes(control_map.read_bytes())
        listed.write_text(listed.read_text().replace(f"{control_map.parent.name}/1.png", "../secret.png"))
    elif fault == "gone":
        control_map.unlink()
    elif fault == "shape":
        Image.new("RGB", (64, 64)).save(control_map)
    elif fault == "damaged":
        control_map.write_bytes(b"\x89PNG rubbish")
    elif fault == "no json":
        listed.write_text("source,target")
    else:
        listed.write_text('{"image": "a/0.png"}\n')

    with pytest.raises((DatasetError, MapError)) as refused:
        examples.find(folder)
    assert message.format(listed=listed) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_rotated_photo_is_turned_upright(base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """EXIF orientation is applied to the photo, as Hugging Face datasets does, and not to the map."""
    folder = write(tmp_path / "data", "imagefolder")
    for path in (folder / "a").iterdir():
        with Image.open(path) as photo:
            exif = photo.getexif()
            exif[0x0112] = 6
            photo.rotate(90, expand=True).save(path, exif=exif)

    data = examples.find(folder)
    assert {(example.width, example.height) for example in data.train} == {(96, 64)}
    assert segkit(*words(folder, base, tmp_path / "run", steps=1)).code == 0


def test_truncated_prompts_are_reported(base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The number of prompts beyond CLIP's 77 tokens is printed."""
    folder = write(tmp_path / "data", "kohya")
    (folder / "img" / "1.txt").write_text("word " * 90)
    done = segkit(*words(folder, base, tmp_path / "run", steps=1))
    assert "Prompts over CLIP's 77 tokens, truncated: 1." in done.out


def test_another_palette_can_be_named(tmp_path: Path) -> None:
    """Maps in the colours of a custom palette are accepted with that palette only."""
    (tmp_path / "mine.csv").write_text("index,name,r,g,b\n0,left,10,20,30\n1,right,200,100,50\n")
    palette = Palette.load(tmp_path / "mine.csv")
    folder = write(tmp_path / "data", "kohya")
    for path in (folder / "cond").iterdir():
        path.write_bytes(codec.encode(np.tile(np.arange(96, dtype=np.uint8) // 48, (64, 1)), palette))

    with pytest.raises(DatasetError, match="3 errors"):
        examples.find(folder)
    assert examples.find(folder, str(tmp_path / "mine.csv")).palette == palette


def edit(folder: Path, **cells: list[object]) -> Path:
    """Set columns of an imagefolder's metadata, one value for each line."""
    path = folder / "metadata.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for number, line in enumerate(lines):
        line.update({name: values[number] for name, values in cells.items()})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_what_was_held_out_is_not_trained_on(base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A column `split` is honoured: validation is measured, the test split is left alone."""
    folder = edit(write(tmp_path / "data", "imagefolder"), split=["train", "validation", "test"])
    data = examples.find(folder)
    plan = json.loads(segkit(*words(folder, base, tmp_path / "run", batch_size=1), "--dry-run", "--json").out)

    assert [[example.text for example in split] for split in (data.train, data.val)] == [["picture 0"], ["picture 1"]]
    assert (plan["triples"], plan["held_out"]) == (1, 1)
    assert plan["notes"] == ["Triples of the test split, left alone: 1."]
    with pytest.raises(DatasetError, match=r"no triple to train on; held out: all 3"):
        examples.find(edit(folder, split=["val"] * 3))


def test_a_dataset_without_its_hidden_folder_keeps_its_decisions(rooms: Path, tmp_path: Path) -> None:
    """Copied without .segkit, it is read by its columns: the same splits, prompts and files."""
    copy = shutil.copytree(rooms, tmp_path / "copy", ignore=shutil.ignore_patterns(".segkit"))
    original, copied = examples.find(rooms), examples.find(copy)

    assert copied.layout == "imagefolder"
    for split in ("train", "val"):
        pairs = zip(getattr(original, split), getattr(copied, split), strict=True)
        assert all((a.text, a.photo_hash, a.map_hash) == (b.text, b.photo_hash, b.map_hash) for a, b in pairs)
    assert copied.val


def test_empty_prompts_are_counted(base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The number is always printed; if all are empty, the training has to be asked for."""
    folder = edit(write(tmp_path / "data", "imagefolder"), text=["a room", None, " "])
    some = segkit(*words(folder, base, tmp_path / "run", steps=1))
    edit(folder, text=[None, "", None])
    refused = segkit(*words(folder, base, tmp_path / "other", steps=1))
    allowed = segkit(*words(folder, base, tmp_path / "other", steps=1, allow_empty_prompts=True))

    assert "Prompts: 3, 2 empty." in some.out
    assert refused.code == 2
    assert "every prompt is empty. Write some: the column text in the metadata." in refused.err
    assert "--allow-empty-prompts" in refused.err
    assert (allowed.code, "Prompts: 3, 3 empty." in allowed.out) == (0, True)


def test_a_photo_that_is_replaced_does_not_end_a_run(base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The change is named, and the run resumes if it is accepted."""
    folder = write(tmp_path / "data", "fill50k")
    assert segkit(*words(folder, base, tmp_path / "run", steps=1)).code == 0
    Image.effect_noise((96, 64), 30).convert("RGB").save(folder / "target" / "1.png")

    refused = segkit(*words(folder, base, tmp_path / "run", steps=2))
    accepted = segkit(*words(folder, base, tmp_path / "run", steps=2), "--accept-changes")

    assert "the dataset has changed: 1 with another photo, such as target/1.png" in refused.err
    assert (refused.code, accepted.code) == (2, 0)
    assert len(log(tmp_path / "run")) == 2


def test_a_dry_run_lists_what_does_not_open(base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A JPEG cut short and a damaged map are both named before anything is written."""
    folder = write(tmp_path / "data", "imagefolder")
    cut = folder / "a" / "1.jpg"
    Image.effect_noise((96, 64), 50).convert("RGB").save(cut, quality=95)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    edit(folder, file_name=["a/0.png", "a/1.jpg", "a/2.png"])
    (folder / "b" / "2.png").write_bytes(b"\x89PNG rubbish")

    done = segkit(*words(folder, base, tmp_path / "run"), "--dry-run")

    assert done.code == 2
    assert f"{cut}: cannot be used: damaged" in done.err
    assert f"{folder / 'b' / '2.png'}: does not open" in done.err
    assert "2 errors, so nothing was trained" in done.err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_photo_in_two_splits_is_refused(tmp_path: Path) -> None:
    """What is held out must not be trained on, under any name."""
    folder = edit(write(tmp_path / "data", "imagefolder"), split=["train", "val", "test"])
    shutil.copy(folder / "a" / "0.png", folder / "a" / "1.png")
    with pytest.raises(
        DatasetError, match=r"0\.png is trained on, but also held out as .*1\.png\. Keep it in one split"
    ):
        examples.find(folder)


def test_the_repair_that_is_advised_works(base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Maps of a kohya folder that were saved as JPEG are repaired in place, and the training starts."""
    folder = tmp_path / "data"
    for place in ("img", "cond"):
        (folder / place).mkdir(parents=True)
    labels = np.random.default_rng(0).integers(0, 150, (2, 3)).repeat(128, 0).repeat(128, 1).astype(np.uint8)
    codec.paint(labels, ADE).convert("RGB").save(folder / "cond" / "0.jpg", quality=90)
    Image.effect_noise((384, 256), 50).convert("RGB").save(folder / "img" / "0.png")
    (folder / "img" / "0.txt").write_text("a room")

    refused = segkit(*words(folder, base, tmp_path / "run", steps=1, batch_size=1))
    command = refused.err.partition("Repair the maps with: segkit ")[2].partition(" , which")[0]
    assert segkit(*shlex.split(command)).code == 0

    assert segkit(*words(folder, base, tmp_path / "run", steps=1, batch_size=1)).code == 0


def test_triples_that_may_yet_be_held_out_are_left_alone(rooms: Path, tmp_path: Path) -> None:
    """While a build is running, its new triples have no split; they are counted, and trained on once it is drawn."""
    copy = shutil.copytree(rooms, tmp_path / "copy")
    dataset = Dataset.open(copy)
    triples = [triple for triple in dataset.triples() if triple.split == "train"]
    before = examples.find(copy)
    dataset.save_info(structs.replace(dataset.info, settings={**dataset.info.settings, "split": "val=0.1"}))
    dataset.commit([structs.replace(triples[0], drawn=UNDRAWN)])
    during = examples.find(copy)

    assert before.notes == ()
    assert during.notes == ("Triples that may yet be held out by a build that has not finished, left alone: 1.",)
    assert len(during.train) == len(before.train) - 1


def test_only_accepted_triples_are_used_on_demand(rooms: Path, tmp_path: Path) -> None:
    """Of all splits; without one to train on, and in other tools' folders, the message says what to do."""
    folder = tmp_path / "rooms"
    shutil.copytree(rooms, folder)
    dataset = Dataset.open(folder)
    with pytest.raises(DatasetError, match="no triple of the split train is accepted"):
        examples.find(folder, reviewed=True)
    accepted = dataset.train[0]
    dataset.decide(accepted.key, "accepted")

    reviewed, everything = examples.find(folder, reviewed=True), examples.find(folder)

    assert [example.photo.stem for example in reviewed.train] == [accepted.key]
    assert reviewed.val == []
    assert len(everything.train) == len(dataset.train) > 1
    with pytest.raises(UsageError, match="not a segkit dataset, so nobody has accepted its triples"):
        examples.find(write(tmp_path / "data", "fill50k"), reviewed=True)


def test_a_map_whose_save_was_killed_is_trained_on(rooms: Path, tmp_path: Path) -> None:
    """The edit is whole but for its record, which the next writer completes; its hash is that of the file."""
    folder = tmp_path / "rooms"
    shutil.copytree(rooms, folder)
    dataset = Dataset.open(folder)
    triple, manifest = dataset.train[0], dataset.manifest.read_bytes()
    dataset.relabel(triple.key, [Stroke(36, ((0, 50),))])
    edited = dataset[triple.key]
    dataset.manifest.write_bytes(manifest)

    listed = examples.find(folder)

    [example] = [example for example in listed.train if example.photo.stem == triple.key]
    assert example.map_hash == edited.map_sha256 != triple.map_sha256
