"""Rules of segkit check: each violation is reported, and a clean dataset has none."""

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

from segkit import storage
from segkit.dataset import Dataset, checks
from segkit.dataset.triple import PERSON
from segkit.maps import codec
from segkit.maps.codec import ClassShare
from segkit.palette import Palette
from segkit.photos import near_duplicates
from tests.dataset.test_dataset import build, drafted, render, written

Line = dict[str, Any]
Break = Callable[[Path, list[Line]], object]
"""Violates a rule by changing files in a dataset's folder or lines of its manifest."""


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid dataset of six triples with prompts; shared, so tests must not change it."""
    folder = tmp_path_factory.mktemp("clean")
    dataset = build(render(folder / "photos", 6), folder / "out")
    dataset.replace_all([written(triple, "a room with a bed") for triple in dataset.triples()])
    return folder / "out"


@pytest.fixture
def copy(clean: Path, tmp_path: Path) -> Path:
    """A copy of the clean dataset that a test may damage."""
    return Path(shutil.copytree(clean, tmp_path / "copy"))


def damage(folder: Path, break_it: Break) -> None:
    """Damage a dataset with plain file operations, as a text editor would."""
    manifest = folder / "metadata.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    break_it(folder, lines)
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))


def repaint(folder: Path, line: Line, change: Callable[[Image.Image], Image.Image]) -> None:
    """Replace a control map by a changed version."""
    path = folder / line["conditioning_image_file_name"]
    with Image.open(path) as control_map:
        control_map.load()
    change(control_map).save(path)


def mostly_unlabelled(control_map: Image.Image) -> Image.Image:
    """Return the map with only its top rows labelled."""
    labels = np.asarray(control_map).copy()
    labels[8:] = 255
    return codec.paint(labels, Palette.load("ade20k"))


def other_label(control_map: Image.Image) -> Image.Image:
    """Return the map with one pixel whose index is not a class."""
    control_map.putpixel((3, 3), 200)
    return control_map


def other_colors(control_map: Image.Image) -> Image.Image:
    """Return the map with its palette reversed."""
    control_map.putpalette((control_map.getpalette() or [])[::-1])
    return control_map


def swap_colors(folder: Path, lines: list[Line]) -> None:
    """Swap the colours of wall and building in the dataset's recorded palette, hash included."""
    dataset = Dataset.open(folder)
    wall, building, *rest = dataset.info.palette
    swapped = replace(wall, rgb=building.rgb), replace(building, rgb=wall.rgb), *rest
    dataset.save_info(structs.replace(dataset.info, palette=replace(dataset.info.palette, swatches=swapped)))


def turned_by_exif(folder: Path, lines: list[Line]) -> None:
    """Add an EXIF orientation to the first photo."""
    path = folder / lines[0]["file_name"]
    with Image.open(path) as photo:
        exif = photo.getexif()
        exif[0x0112] = 3
        photo.save(path, exif=exif, quality=95, subsampling=0)


def copied_into_val(folder: Path, lines: list[Line]) -> None:
    """Replace the photo of a triple in val by a mirrored copy of another one of its size in train."""
    with Image.open(folder / lines[0]["file_name"]) as photo:
        ImageOps.mirror(photo).save(folder / lines[3]["file_name"], quality=90)
    data = (folder / lines[3]["file_name"]).read_bytes()
    phash = f"{near_duplicates.mirrored(int(lines[0]['phash'], 16)):016x}"
    lines[0].update(split="train")
    lines[3].update(split="val", photo_sha256=storage.sha256(data), phash=phash)


def flagged(name: str) -> Break:
    """Return a change that flags the first prompt, recorded as a model's."""
    model = {"by": "model", "model": "m", "revision": "1", "human": False, "digest": ""}
    return lambda folder, lines: lines[0].update(problems=[name], prompt=model)


BROKEN: dict[str, list[Break]] = {
    "no-triples": [lambda folder, lines: lines.clear()],
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
        lambda folder, lines: repaint(folder, lines[0], lambda image: image.crop((0, 0, 64, 64))),
    ],
    "map-not-indexed": [
        lambda folder, lines: repaint(folder, lines[0], lambda image: image.convert("RGB")),
        lambda folder, lines: repaint(folder, lines[0], other_colors),
    ],
    "label-invalid": [
        lambda folder, lines: repaint(folder, lines[0], other_label),
        lambda folder, lines: repaint(folder, lines[0], lambda image: Image.new("RGB", image.size, (1, 2, 3))),
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
        lambda folder, lines: repaint(folder, lines[0], lambda image: ImageOps.mirror(image)),
        lambda folder, lines: shutil.copy(folder / lines[0]["file_name"], folder / lines[3]["file_name"]),
    ],
    "palette-differs": [swap_colors],
    "split-unknown": [lambda folder, lines: lines[0].update(split="training")],
    "split-leak": [
        lambda folder, lines: [lines[0].update(split="val"), lines[1].update(split="test", group=lines[0]["group"])]
    ],
    "split-near": [copied_into_val],
    "orphan": [
        lambda folder, lines: (folder / "notes.txt").write_text("mine"),
        lambda folder, lines: (folder / "images" / "ab.txt").write_text("mine"),
        lambda folder, lines: lines.pop(),
    ],
}
WARNINGS = {name for name in checks.RULES if name.startswith("prompt-")} - {"prompt-too-long"}
WARNINGS |= {"coverage-low", "split-near"}


def test_a_clean_dataset_has_no_problem(clean: Path) -> None:
    """A valid dataset yields no problem."""
    report = checks.check(Dataset.open(clean))

    assert (report.triples, report.problems, report.failed) == (6, [], False)


def test_every_rule_has_a_violation() -> None:
    """Each rule is covered by at least one case of BROKEN."""
    assert set(BROKEN) == set(checks.RULES)


@pytest.mark.parametrize(
    ("rule", "break_it"), [(rule, change) for rule, changes in BROKEN.items() for change in changes]
)
def test_a_violation_is_reported(copy: Path, rule: str, break_it: Break) -> None:
    """A violation yields a problem with message and cure; errors fail the check, warnings do not."""
    damage(copy, break_it)

    result = checks.check(Dataset.open(copy))

    problems = [problem for problem in result.problems if problem.rule == rule]
    assert problems
    assert result.failed or rule in WARNINGS
    assert problems[0].severity == ("warning" if rule in WARNINGS else "error")
    assert problems[0].place
    assert problems[0].message.endswith(".")
    assert problems[0].cure


def test_paths_that_leave_the_dataset_are_never_opened(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile manifest cannot make the check read files outside the dataset."""
    secret = copy.parent / "secret.jpg"
    secret.write_bytes(next((copy / "images").rglob("*.jpg")).read_bytes() + b"secret")
    opened: list[bytes] = []
    original_open = checks.open_stored

    def watched(data: bytes) -> Image.Image:
        opened.append(data)
        return original_open(data)

    monkeypatch.setattr(checks, "open_stored", watched)
    damage(copy, lambda folder, lines: lines[0].update(file_name="../secret.jpg"))
    damage(copy, lambda folder, lines: lines[1].update(conditioning_image_file_name=str(secret)))

    report = checks.check(Dataset.open(copy))

    assert report.counts()["manifest-damaged"] == 2
    assert len(opened) == 8
    assert secret.read_bytes() not in opened


def test_parts_override_the_manifest(copy: Path) -> None:
    """After a kill, the records in unfolded parts are checked instead of the manifest's older lines."""
    dataset = Dataset.open(copy)
    first, second, *_ = dataset.triples()
    dataset.commit([drafted(first, "a chair"), structs.replace(second, text="")])

    report = checks.check(dataset)

    assert report.counts() == {"prompt-missing": 1}
    assert report.triples == 6


def test_a_missing_manifest_is_reported_with_its_cure(copy: Path) -> None:
    """A dataset without a manifest is unfinished; the cure is to run the build again."""
    (copy / "metadata.jsonl").unlink()

    report = checks.check(Dataset.open(copy))

    assert report.problems[0].message == "metadata.jsonl is missing."
    assert "run segkit build-dataset again" in report.problems[0].cure


def test_a_long_prompt_by_a_person_is_reported(copy: Path) -> None:
    """A person's prompt is never shortened, so the check reports that CLIP ignores the rest."""
    dataset = Dataset.open(copy)
    first, *rest = dataset.triples()
    dataset.replace_all([structs.replace(first, text="word " * 90, tokens=92, prompt=PERSON), *rest])

    report = checks.check(dataset)

    assert report.counts() == {"prompt-too-long": 1}
    assert "92 tokens, but CLIP reads only 77" in report.problems[0].message


def test_a_tokenizer_overrides_recorded_counts(copy: Path) -> None:
    """With a tokenizer, prompts are counted again instead of trusting the recorded token counts."""
    report = checks.check(Dataset.open(copy), count=lambda text: 100)

    assert report.counts() == {"prompt-too-long": 6}


def test_the_cure_for_a_lost_photo_works(copy: Path, clean: Path) -> None:
    """A triple whose line was removed is rebuilt identically except for its prompt."""
    dataset = Dataset.open(copy)
    lost = next(dataset.triples())
    (copy / lost.file_name).unlink()
    damage(copy, lambda folder, lines: lines.pop(0))

    rebuilt = build(clean.parent / "photos", copy)

    assert [t.key for t in rebuilt.triples()] == [t.key for t in Dataset.open(clean).triples()]
    assert checks.check(rebuilt).counts() == {"prompt-missing": 1}


def test_hidden_files_are_not_orphans(copy: Path) -> None:
    """Files that dataset readers ignore, such as a .git folder, are not reported."""
    (copy / ".git").mkdir()
    (copy / ".git" / "HEAD").touch()
    (copy / ".DS_Store").touch()

    assert checks.check(Dataset.open(copy)).problems == []


def test_progress_is_reported(clean: Path) -> None:
    """Progress is called once per triple, with the total."""
    calls: list[tuple[int, int]] = []

    checks.check(Dataset.open(clean), progress=lambda stage, done, total, note="": calls.append((done, total)))

    assert calls == [(number, 6) for number in range(1, 7)]


def test_a_recorded_class_must_be_in_the_map(copy: Path) -> None:
    """A recorded class that the map does not contain is named in the message."""
    dataset = Dataset.open(copy)
    first, *rest = dataset.triples()
    dataset.replace_all([structs.replace(first, classes=(*first.classes, ClassShare("flag", 0.1, 0.5))), *rest])

    report = checks.check(dataset)

    assert [problem.message.partition(": ")[2] for problem in report.problems] == ["map and record disagree on: flag."]
