"""segkit check's rules: each one broken on purpose is found, and a clean dataset breaks none."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from PIL import Image, ImageOps

from segkit.dataset import Dataset, checks
from segkit.dataset.triple import PERSON
from segkit.maps import codec
from segkit.maps.codec import ClassShare
from segkit.palette import Palette
from tests.dataset.test_dataset import build, drafted, render, written

Line = dict[str, Any]
Break = Callable[[Path, list[Line]], object]
"""Breaks a rule in a dataset: changes files in its folder, or the lines of its manifest."""


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of six triples with prompts, without fault. Do not change it."""
    folder = tmp_path_factory.mktemp("clean")
    dataset = build(render(folder / "photos", 6), folder / "out")
    dataset.replace_all([written(triple, "a room with a bed") for triple in dataset.triples()])
    return folder / "out"


@pytest.fixture
def copy(clean: Path, tmp_path: Path) -> Path:
    """A copy of the clean dataset, to be broken."""
    return Path(shutil.copytree(clean, tmp_path / "copy"))


def damage(folder: Path, break_it: Break) -> None:
    """Break a dataset by hand, as an editor would."""
    manifest = folder / "metadata.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    break_it(folder, lines)
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))


def repaint(folder: Path, line: Line, change: Callable[[Image.Image], Image.Image]) -> None:
    """Save a changed version of a control map."""
    path = folder / line["conditioning_image_file_name"]
    with Image.open(path) as control_map:
        control_map.load()
    change(control_map).save(path)


def mostly_unlabelled(control_map: Image.Image) -> Image.Image:
    """Return the map with only a corner labelled."""
    labels = np.asarray(control_map).copy()
    labels[8:] = 255
    return codec.paint(labels, Palette.load("ade20k"))


def other_label(control_map: Image.Image) -> Image.Image:
    """Return the map with one pixel whose index is no class."""
    control_map.putpixel((3, 3), 200)
    return control_map


def other_colors(control_map: Image.Image) -> Image.Image:
    """Return the map with its palette turned round."""
    control_map.putpalette((control_map.getpalette() or [])[::-1])
    return control_map


def swap_colors(folder: Path, lines: list[Line]) -> None:
    """Give wall and building each other's colours, in the dataset's own table, its hash included."""
    dataset = Dataset.open(folder)
    wall, building, *rest = dataset.info.palette
    swapped = replace(wall, rgb=building.rgb), replace(building, rgb=wall.rgb), *rest
    dataset.save_info(structs.replace(dataset.info, palette=replace(dataset.info.palette, swatches=swapped)))


def turned_by_exif(folder: Path, lines: list[Line]) -> None:
    """Tell readers to turn the first photo."""
    path = folder / lines[0]["file_name"]
    with Image.open(path) as photo:
        exif = photo.getexif()
        exif[0x0112] = 3
        photo.save(path, exif=exif, quality=95, subsampling=0)


def flagged(name: str) -> Break:
    """Return what flags the first prompt, as a model's."""
    model = {"by": "model", "model": "m", "revision": "1", "human": False, "digest": ""}
    return lambda folder, lines: lines[0].update(problems=[name], prompt=model)


BROKEN: dict[str, list[Break]] = {
    "manifest-damaged": [
        lambda folder, lines: lines[0].pop("phash"),
        lambda folder, lines: lines[0].update(width="96"),
        lambda folder, lines: lines[0].update(file_name="../secret.jpg"),
        lambda folder, lines: (folder / ".segkit" / "rejected.jsonl").write_text("[]\n"),
        lambda folder, lines: (folder / ".segkit" / "parts" / "00000001.jsonl").write_text("{}\n"),
    ],
    "key-repeated": [lambda folder, lines: lines.append(lines[0])],
    "file-missing": [
        lambda folder, lines: (folder / lines[0]["file_name"]).unlink(),
        lambda folder, lines: (folder / lines[0]["conditioning_image_file_name"]).unlink(),
    ],
    "file-damaged": [
        lambda folder, lines: (folder / lines[0]["file_name"]).write_bytes(b""),
        lambda folder, lines: (folder / lines[0]["conditioning_image_file_name"]).write_bytes(b"\x89PNG\r\n\x1a\n"),
        lambda folder, lines: (folder / lines[0]["file_name"]).write_bytes(
            (folder / lines[0]["file_name"]).read_bytes()[:-200]
        ),
    ],
    "size-differs": [
        lambda folder, lines: lines[0].update(width=lines[0]["width"] + 8),
        lambda folder, lines: repaint(folder, lines[0], lambda found: found.crop((0, 0, 64, 64))),
    ],
    "map-not-indexed": [
        lambda folder, lines: repaint(folder, lines[0], lambda found: found.convert("RGB")),
        lambda folder, lines: repaint(folder, lines[0], other_colors),
    ],
    "label-invalid": [
        lambda folder, lines: repaint(folder, lines[0], other_label),
        lambda folder, lines: repaint(folder, lines[0], lambda found: Image.new("RGB", found.size, (1, 2, 3))),
    ],
    "classes-differ": [
        lambda folder, lines: lines[0]["classes"].pop(),
        lambda folder, lines: lines[0]["classes"].append(lines[0]["classes"][0]),
        lambda folder, lines: lines[0]["classes"][0].update(share=0.01),
    ],
    "coverage-low": [lambda folder, lines: repaint(folder, lines[0], mostly_unlabelled)],
    "prompt-missing": [lambda folder, lines: lines[0].update(text=" ")],
    "prompt-too-long": [lambda folder, lines: lines[0].update(tokens=78)],
    "prompt-cut": [flagged("prompt-cut")],
    "prompt-empty": [flagged("prompt-empty")],
    "prompt-repeats": [flagged("prompt-repeats")],
    "tokens-differ": [lambda folder, lines: lines[0].update(text="word " * 90, tokens=12)],
    "file-changed": [
        turned_by_exif,
        lambda folder, lines: repaint(folder, lines[0], lambda found: ImageOps.mirror(found)),
        lambda folder, lines: shutil.copy(folder / lines[0]["file_name"], folder / lines[3]["file_name"]),
    ],
    "palette-differs": [swap_colors],
    "split-unknown": [lambda folder, lines: lines[0].update(split="training")],
    "split-leak": [
        lambda folder, lines: [lines[0].update(split="val"), lines[1].update(split="test", group=lines[0]["group"])]
    ],
    "split-near": [
        lambda folder, lines: [lines[0].update(split="val"), lines[1].update(split="test", phash=lines[0]["phash"])]
    ],
    "orphan": [
        lambda folder, lines: (folder / "notes.txt").write_text("mine"),
        lambda folder, lines: (folder / "images" / "ab.txt").write_text("mine"),
        lambda folder, lines: lines.pop(),
    ],
}
WARNINGS = {name for name in checks.RULES if name.startswith("prompt-")} - {"prompt-too-long"}
WARNINGS |= {"coverage-low", "split-near"}


def test_a_clean_dataset_has_no_problem(clean: Path) -> None:
    """Where nothing is wrong, nothing is found."""
    found = checks.check(Dataset.open(clean))

    assert (found.triples, found.problems, found.failed) == (6, [], False)


def test_every_rule_is_broken_below() -> None:
    """No rule goes without proof that it finds something."""
    assert set(BROKEN) == set(checks.RULES)


@pytest.mark.parametrize(("rule", "break_it"), [(rule, each) for rule, ways in BROKEN.items() for each in ways])
def test_a_broken_rule_is_found(copy: Path, rule: str, break_it: Break) -> None:
    """Breaking a rule yields its problem with a message and a cure; errors fail the dataset, warnings do not."""
    damage(copy, break_it)

    result = checks.check(Dataset.open(copy))

    found = [problem for problem in result.problems if problem.rule == rule]
    assert found
    assert result.failed or rule in WARNINGS
    assert found[0].severity == ("warning" if rule in WARNINGS else "error")
    assert found[0].place
    assert found[0].message.endswith(".")
    assert found[0].cure


def test_paths_that_leave_the_dataset_are_never_opened(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest from elsewhere cannot make the check read other files."""
    secret = copy.parent / "secret.jpg"
    secret.write_bytes(next((copy / "images").rglob("*.jpg")).read_bytes() + b"secret")
    opened: list[bytes] = []
    really_open = checks._open

    def watched(data: bytes) -> Image.Image:
        opened.append(data)
        return really_open(data)

    monkeypatch.setattr(checks, "_open", watched)
    damage(copy, lambda folder, lines: lines[0].update(file_name="../secret.jpg"))
    damage(copy, lambda folder, lines: lines[1].update(conditioning_image_file_name=str(secret)))

    found = checks.check(Dataset.open(copy))

    assert found.counts()["manifest-damaged"] == 2
    assert len(opened) == 8
    assert secret.read_bytes() not in opened


def test_a_finished_unit_that_is_not_folded_in_is_no_fault(copy: Path) -> None:
    """After a kill, what parts hold counts instead of the manifest's older lines."""
    dataset = Dataset.open(copy)
    first, second, *_ = dataset.triples()
    dataset.commit([drafted(first, "a chair"), structs.replace(second, text="")])

    found = checks.check(dataset)

    assert found.counts() == {"prompt-missing": 1}
    assert found.triples == 6


def test_a_build_killed_before_its_first_manifest_is_told_what_to_do(copy: Path) -> None:
    """A dataset without its manifest is unfinished, and the cure finishes it."""
    (copy / "metadata.jsonl").unlink()

    found = checks.check(Dataset.open(copy))

    assert found.problems[0].message == "metadata.jsonl is not there."
    assert "Run segkit build-dataset again" in found.problems[0].cure


def test_a_long_prompt_by_a_person_is_reported(copy: Path) -> None:
    """A person's prompt is never cut, so check says that CLIP would."""
    dataset = Dataset.open(copy)
    first, *rest = dataset.triples()
    dataset.replace_all([structs.replace(first, text="word " * 90, tokens=92, prompt=PERSON), *rest])

    found = checks.check(dataset)

    assert found.counts() == {"prompt-too-long": 1}
    assert "92 tokens, CLIP reads 77" in found.problems[0].message


def test_prompts_can_be_counted_anew(copy: Path) -> None:
    """With a tokenizer at hand the recorded numbers do not count."""
    found = checks.check(Dataset.open(copy), count=lambda text: 100)

    assert found.counts() == {"prompt-too-long": 6}


def test_the_cure_for_a_lost_photo_works(copy: Path, clean: Path) -> None:
    """A triple whose line is removed is made again, as it was but for its prompt."""
    dataset = Dataset.open(copy)
    lost = next(dataset.triples())
    (copy / lost.file_name).unlink()
    damage(copy, lambda folder, lines: lines.pop(0))

    mended = build(clean.parent / "photos", copy)

    assert [t.key for t in mended.triples()] == [t.key for t in Dataset.open(clean).triples()]
    assert checks.check(mended).counts() == {"prompt-missing": 1}


def test_hidden_files_are_nobodys_business(copy: Path) -> None:
    """What readers of a dataset do not see, such as a git folder, is no orphan."""
    (copy / ".git").mkdir()
    (copy / ".git" / "HEAD").touch()
    (copy / ".DS_Store").touch()

    assert checks.check(Dataset.open(copy)).problems == []


def test_progress_is_told(clean: Path) -> None:
    """Every triple is counted, up to the total."""
    told: list[tuple[int, int]] = []

    checks.check(Dataset.open(clean), progress=lambda stage, done, total, note="": told.append((done, total)))

    assert told == [(number, 6) for number in range(1, 7)]


def test_names_of_recorded_classes_must_be_the_maps(copy: Path) -> None:
    """A class in the record that the map does not show is named."""
    dataset = Dataset.open(copy)
    first, *rest = dataset.triples()
    dataset.replace_all([structs.replace(first, classes=(*first.classes, ClassShare("flag", 0.1, 0.5))), *rest])

    found = checks.check(dataset)

    assert [problem.message.partition(": ")[2] for problem in found.problems] == ["map and record disagree on: flag."]
