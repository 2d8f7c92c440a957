"""What is wrong with single items: one bad row costs that row, and what is lost is counted, named and shown."""

import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.dataset import Dataset, Rejection
from segkit.dataset.triple import Triple
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED
from tests.conftest import Segkit
from tests.imports.conftest import COCO, SIZE, Importer, Scene, coco, kohya, write

Scenes = tuple[Scene, ...]
LATIN = "café".encode("latin-1")


def pictures(folder: Path, scenes: Scenes) -> None:
    """Write photos and maps, 0.png and 0.map.png and so on."""
    for number, scene in enumerate(scenes):
        write(folder / f"{number}.png", scene.photo)
        write(folder / f"{number}.map.png", scene.control_map())


def bad_caption(folder: Path, scenes: Scenes) -> None:
    """A caption that is not UTF-8."""
    (kohya(folder, scenes) / "img" / "1.txt").write_bytes(LATIN)


def bad_jsonl(folder: Path, scenes: Scenes) -> None:
    """A line of metadata.jsonl that is no JSON, one that is not UTF-8, and one without names."""
    pictures(folder, scenes)
    row = '{"file_name": "%d.png", "conditioning_image_file_name": "%d.map.png", "text": "a room"}\n'
    lines = [(row % (number, number)).encode() for number in range(2)]
    (folder / "metadata.jsonl").write_bytes(
        b"".join([b"{torn\n", lines[0].replace(b"a room", LATIN), b'{"a": 1}\n', *lines])
    )


def bad_csv(folder: Path, scenes: Scenes) -> None:
    """A row that is not UTF-8, and one with too many cells."""
    pictures(folder, scenes)
    header = b"file_name,conditioning_image_file_name,text\n"
    rows = [b"0.png,0.map.png," + LATIN, b"1.png,1.map.png,a room, wide", b"0.png,0.map.png,a", b"1.png,1.map.png,b"]
    (folder / "metadata.csv").write_bytes(header + b"\n".join(rows))


def bad_fill50k(folder: Path, scenes: Scenes) -> None:
    """A line without names, and one whose prompt is a list."""
    pictures(folder, scenes)
    row = {"source": "0.map.png", "target": "0.png"}
    rows = [{"source": 1}, row | {"prompt": ["a"]}, row | {"prompt": "b"}, {"source": "1.map.png", "target": "1.png"}]
    (folder / "prompt.json").write_text("\n".join(map(json.dumps, rows)))


def bad_shard(folder: Path, scenes: Scenes) -> None:
    """A sample with a text that is not UTF-8."""
    pictures(folder, scenes)
    (folder / "2.txt").write_bytes(LATIN)
    with tarfile.open(folder / "0.tar", "w") as tar:
        for number in (0, 1, 2):
            tar.add(folder / f"{number}.png", f"{number}.jpg")
            tar.add(folder / f"{number}.map.png", f"{number}.hint.png")
            if number == 2:
                tar.add(folder / "2.txt", "2.txt")


@pytest.mark.parametrize(("damage", "faults", "imported"), [
    (bad_caption, 1, 2), (bad_jsonl, 3, 2), (bad_csv, 2, 2), (bad_fill50k, 2, 2), (bad_shard, 1, 2),
])  # fmt: skip
def test_one_bad_row_costs_that_row(
    damage: Callable[[Path, Scenes], None], faults: int, imported: int, scenes: Scenes, bring: Importer, tmp_path: Path
) -> None:
    """In every layout the others are imported, and the reason is recorded."""
    damage(tmp_path / "s", scenes[:3])

    outcome = bring(tmp_path / "s")

    assert (outcome.rejected["entry-unreadable"], outcome.imported) == (faults, imported)
    assert all(one.message for one in outcome.dataset.rejections())


def test_a_photo_that_does_not_exist_is_missing(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Not refused by the operating system."""
    bad_fill50k(tmp_path / "s", scenes[:2])
    (tmp_path / "s" / "1.png").unlink()

    assert bring(tmp_path / "s").rejected["photo-missing"] == 1


def test_nothing_imported_is_a_failure(scenes: Scenes, segkit: Segkit, tmp_path: Path) -> None:
    """Exit code 1, reasons, the guess that columns are swapped, and no empty dataset; run again all the same."""
    folder = kohya(tmp_path / "k", scenes[:2])
    (folder / "img").rename(folder / "maps")
    options = ("-o", tmp_path / "out", "--size", 96, "--min-size", 80)

    swapped = segkit("import", "--photos", folder / "cond", "--maps", folder / "maps", *options)
    dry = segkit("import", "--photos", folder / "cond", "--maps", folder / "maps", *options, "--dry-run")
    right = segkit("import", "--photos", folder / "maps", "--maps", folder / "cond", *options)
    again = segkit("import", "--photos", folder / "maps", "--maps", folder / "cond", *options)

    assert (swapped.code, dry.code, right.code, again.code) == (1, 1, 0, 0)
    assert "cond/0.png: map-unsure" in swapped.out or "0.png: map-unsure" in swapped.out
    assert "Photos and maps seem to be swapped" in swapped.out
    assert "Nothing was imported: all 2 items were left out." in swapped.out
    assert "New triples without a prompt: 0" not in right.out


def test_no_empty_dataset_is_left(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Where everything is left out, the output folder is as it was."""
    folder = kohya(tmp_path / "k", scenes[:2])
    for path in (folder / "cond").iterdir():
        path.unlink()

    outcome = bring(folder)

    assert (dict(outcome.rejected), outcome.is_fruitless) == ({"map-missing": 2}, True)
    assert not (tmp_path / "out").exists()


def test_a_photo_twice_with_other_words_is_a_conflict(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """In one source as between two; a plain copy is none, and a text where the first has none is taken."""
    folder = kohya(tmp_path / "k", scenes[:3])
    for number, copy, text in ((0, "x", "other words"), (1, "y", "caption 1"), (2, "z", "a late caption")):
        for place in ("img", "cond"):
            (folder / place / f"{copy}.png").write_bytes((folder / place / f"{number}.png").read_bytes())
        (folder / "img" / f"{copy}.txt").write_text(text)
    (folder / "img" / "2.txt").unlink()

    outcome = bring(folder)

    assert [(one.what, one.source) for one in outcome.conflicts] == [("prompt", "k/0.png")]
    assert "'other words' in k/x.png" in outcome.conflicts[0].reason
    assert (outcome.imported, outcome.merged, outcome.unchanged, dict(outcome.rejected)) == (3, 1, 1, {"identical": 1})
    assert outcome.merges == ["k/z.png"]
    assert {triple.source: triple.text for triple in outcome.dataset}["k/2.png"] == "a late caption"


def test_another_map_of_a_known_photo_is_counted(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Unless a person drew it, it is not taken over, and that is said; the same map in another file is not another."""
    bring(kohya(tmp_path / "one", scenes[:2]))
    two = kohya(tmp_path / "two", scenes[:2])
    write(two / "cond" / "0.png", scenes[0].control_map().convert("RGBA"))
    write(two / "cond" / "1.png", Scene(scenes[1].photo, np.flipud(scenes[1].labels)).control_map())

    outcome = bring(two)

    assert outcome.differing == 1
    assert any("another map, which stays: 1" in note and "maps_by_person=True" in note for note in outcome.notes)


def test_a_small_map_is_said_to_be_enlarged(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """The factor is recorded, and the summary counts such maps."""
    folder = kohya(tmp_path / "k", scenes[:2])
    small = scenes[0].control_map().resize((SIZE[0] // 2, SIZE[1] // 2), Image.Resampling.NEAREST)
    write(folder / "cond" / "0.png", small)

    outcome = bring(folder)

    assert sorted(triple.origin.enlarged for triple in outcome.dataset) == [1.0, 1.6]
    assert any("enlarged to its size: 1." in note for note in outcome.notes)


def test_lost_classes_are_named_with_their_shares(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Only those that the maps have; the record says how much of each map was lost."""
    labels: Labels = np.full(SIZE[::-1], COCO.find("person").index, np.uint8)
    labels[:30] = COCO.find("frisbee").index
    folder = coco(tmp_path / "coco", {"val2017": [labels]}, scenes)

    outcome = bring(folder, protocol="ade20k")

    [triple] = outcome.dataset
    assert triple.origin.unmapped == pytest.approx(0.25)
    assert (triple.labels == UNLABELLED).mean() == pytest.approx(0.25, abs=0.02)
    [note] = [note for note in outcome.notes if "without a counterpart" in note]
    assert "frisbee (25.0%)." in note
    assert outcome.to_json()["unmapped"] == {"frisbee": 0.25}
    assert outcome.without_prompt == 1
    assert any("New triples without a prompt: 1. To draft them: segkit caption" in note for note in outcome.notes)


def test_the_shares_of_a_repair_are_shown(scenes: Scenes, segkit: Segkit, tmp_path: Path) -> None:
    """Changed are pixels that got another class than that of the nearest colour, not all whose value JPEG moved."""
    folder = kohya(tmp_path / "k", scenes[:1])
    (folder / "cond" / "0.png").unlink()
    write(folder / "cond" / "0.jpg", scenes[0].control_map(), quality=90)

    result = segkit("import", folder, "-o", tmp_path / "out", "--size", 96, "--min-size", 80, "--json")

    outcome = json.loads(result.out)
    assert outcome["repaired"] == {"jpeg": 1}
    assert 0 < outcome["recolored"]["jpeg"] < 0.3
    assert 0 <= outcome["doubtful"]["jpeg"] < 0.1


def test_recorded_reasons_name_options(scenes: Scenes, segkit: Segkit, bring: Importer, tmp_path: Path) -> None:
    """A command's rejected.jsonl speaks of its options, and a leak of the option that resolves it."""
    folder = kohya(tmp_path / "k", scenes[:2])
    (folder / "cond" / "1.png").unlink()
    pair = tmp_path / "pair"
    for split, quality in (("train", 95), ("val", 70)):
        write(pair / "photos" / split / "a.jpg", scenes[0].photo, quality=quality)
        write(pair / "maps" / split / "a.png", scenes[0].control_map())

    segkit("import", folder, "-o", tmp_path / "out", "--size", 96, "--min-size", 80)
    bring(folder, out="python")
    options = ("-o", tmp_path / "leaks", "--size", 96, "--min-size", 80, "--keep-duplicates")
    segkit("import", "--photos", pair / "photos", "--maps", pair / "maps", *options)

    recorded = (tmp_path / "out" / ".segkit" / "rejected.jsonl").read_text()
    assert "--segment-missing MODEL draws one" in recorded
    assert "segment_missing=MODEL draws one" in (tmp_path / "python" / ".segkit" / "rejected.jsonl").read_text()
    assert "--on-leak move moves it there" in (tmp_path / "leaks" / ".segkit" / "rejected.jsonl").read_text()


def test_check_knows_that_a_dataset_was_imported(scenes: Scenes, segkit: Segkit, tmp_path: Path) -> None:
    """What belongs to no triple after a kill, or is missing, is restored by the import, not by a build."""
    segkit("import", kohya(tmp_path / "k", scenes[:1]), "-o", tmp_path / "out", "--size", 96, "--min-size", 80)
    [photo] = (tmp_path / "out" / "images").rglob("*.jpg")
    photo.with_name(f"{'0' * 16}.jpg").write_bytes(photo.read_bytes())
    photo.unlink()

    checked = segkit("check", tmp_path / "out")

    assert checked.code == 1
    assert "Move it out of the dataset, or run segkit import again with the same sources" in checked.out
    assert "Run segkit import again with the same sources" in checked.out
    assert "build-dataset" not in checked.out


def test_a_killed_import_saves_its_work(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Photos are recorded a few at a time, so that an import which is killed again and again gets on."""
    folder = kohya(tmp_path / "k", scenes)
    imported = Dataset.commit
    recorded = []

    def commit(dataset: Dataset, triples: Iterable[Triple], rejections: Iterable[Rejection] = ()) -> None:
        recorded.append(list(triples))
        imported(dataset, recorded[-1], rejections)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "commit", commit)
        bring(folder)

    assert [len(unit) for unit in recorded if unit][:2] == [4, 2]


def test_cityscapes_colours_are_recognised(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """They are not numbers of COCO's segments, of which some are the same colours."""
    folder = kohya(tmp_path / "k", scenes[:1])
    rows = np.arange(SIZE[1])[:, None] * 7 // SIZE[1] + np.zeros((1, SIZE[0]), int)
    street = [(70, 130, 180), (107, 142, 35), (70, 70, 70), (0, 0, 142), (220, 20, 60), (244, 35, 232), (128, 64, 128)]
    write(folder / "cond" / "0.png", Image.fromarray(np.array(street, np.uint8)[rows]))

    outcome = bring(folder)

    [example] = outcome.examples
    assert example.reason == "map-unsure"
    assert "the colours are Cityscapes'" in example.message
    assert "a table" in example.message
