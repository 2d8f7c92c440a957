"""Every layout becomes triples whose maps are the truth, with prompts, splits and authorship as they came."""

import csv
import json
import tarfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.build.tools import Drafter
from segkit.dataset.prompts import estimate
from segkit.dataset.triple import IMPORTED, PERSON
from segkit.errors import DatasetError, UsageError
from segkit.imports import pipeline, sources
from segkit.palette import UNLABELLED
from segkit.toy.world import damage
from tests.dataset.test_dataset import Unbatched, brightness
from tests.imports.conftest import (
    ADE,
    COCO,
    SIZE,
    Importer,
    Scene,
    ade20k,
    by_source,
    coco,
    expected,
    kohya,
    write,
)

Scenes = tuple[Scene, ...]


class Drafts(Drafter):
    """A captioner that is a plain function, without torch."""

    def __call__(self, photos: Sequence[Image.Image]) -> list[str]:
        """Caption photos."""
        return self.caption(photos)


LOADERS = pipeline.Loaders(
    lambda settings: Unbatched(ADE, brightness, None, settings.segmenter, "1"),
    lambda settings: Drafts(lambda photos: ["a bright room"] * len(photos), estimate, settings.captioner, "1"),
)


def png(image: Image.Image) -> bytes:
    """Encode a picture."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_ade20k_as_released(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Indices from 1 become classes, 0 becomes unlabelled; persons drew the maps; the splits are kept."""
    hole = scenes[0].labels.copy()
    hole[:40] = UNLABELLED
    listed = (Scene(scenes[0].photo, hole), *scenes[1:3])

    outcome = bring(ade20k(tmp_path / "ADEChallengeData2016", listed))

    triples = list(outcome.dataset.triples())
    assert outcome.imported == 3
    assert [triple.source for triple in triples] == [
        f"ADEChallengeData2016/images/{name}.jpg"
        for name in ("training/ADE_train_00000001", "training/ADE_train_00000002", "validation/ADE_val_00000003")
    ]
    assert [(triple.split, triple.drawn) for triple in triples] == [*[("train", IMPORTED)] * 2, ("val", IMPORTED)]
    assert all(triple.map_by_person and triple.origin.layout == "ade20k" for triple in triples)
    assert {triple.origin.cause for triple in triples} == {"label-ids"}
    for triple, scene in zip(triples, listed, strict=True):
        assert np.array_equal(triple.labels, expected(scene.labels))
    assert {problem.rule for problem in outcome.dataset.check()} == {"prompt-missing"}


def test_the_full_release_of_ade20k_is_refused(scenes: Scenes, tmp_path: Path) -> None:
    """Its classes are others, whether in its own folders or in those of the scene parsing release."""
    place = tmp_path / "full" / "images" / "ADE" / "training" / "urban" / "street"
    write(place / "ADE_train_00000001.jpg", scenes[0].photo)
    write(place / "ADE_train_00000001_seg.png", scenes[0].control_map())

    with pytest.raises(DatasetError, match=r"full release, whose 3,688 classes"):
        sources.open_all([tmp_path / "full"])


def test_maps_of_the_full_release_are_left_out(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Values of red / 10 * 256 + green in the place of indices is recognised."""
    folder = ade20k(tmp_path / "ade", scenes[:2])
    number = scenes[0].labels.astype(int) * 17 + 300
    full = np.stack([number // 256 * 10, number % 256, number * 0], axis=-1).astype(np.uint8)
    write(folder / "annotations" / "training" / "ADE_train_00000001.png", Image.fromarray(full))

    outcome = bring(folder)

    assert dict(outcome.rejected) == {"map-unsure": 1}
    assert "full release" in next(outcome.dataset.rejections()).message


def test_coco_panoptic(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Segments become the classes of their categories; the protocol is COCO's; 0 is unlabelled."""
    rng = np.random.default_rng(0)
    blocks = [np.kron(rng.integers(0, len(COCO), (6, 8)), np.ones((20, 20), int)).astype(np.uint8) for _ in range(3)]
    blocks[0][:20] = UNLABELLED
    folder = coco(tmp_path / "coco", {"train2017": blocks[:2], "val2017": blocks[2:]}, scenes)

    outcome = bring(folder)

    assert outcome.dataset.info.settings["protocol"] == "coco"
    triples = list(outcome.dataset.triples())
    assert [triple.split for triple in triples] == ["train", "train", "val"]
    assert all(triple.map_by_person and triple.origin.cause == "panoptic-ids" for triple in triples)
    for triple, labels in zip(triples, blocks, strict=True):
        assert np.array_equal(triple.labels, expected(labels))
    assert {problem.rule for problem in outcome.dataset.check()} == {"prompt-missing"}


def test_coco_in_an_ade_dataset_needs_to_be_asked_for(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Classes are mapped by name only on demand; those without a counterpart are named and stay unlabelled."""
    sky, zebra = COCO.find("sky-other-merged").index, COCO.find("zebra").index
    labels = np.full(SIZE[::-1], sky, np.uint8)
    labels[60:] = zebra
    folder = coco(tmp_path / "coco", {"val2017": [labels]}, scenes)

    bring(kohya(tmp_path / "k", scenes[:1]))
    with pytest.raises(UsageError, match="has categories that the dataset's palette ade20k lacks"):
        bring(folder)
    outcome = bring(folder, protocol="ade20k")

    [triple] = (triple for triple in outcome.dataset.triples() if triple.origin.layout == "coco-panoptic")
    assert np.unique(triple.labels).tolist() == [ADE.find("sky").index, UNLABELLED]
    assert any("zebra" in note or "left unlabelled" in note for note in outcome.notes)


def test_two_folders_matched_by_name(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Maps may have an ending; folders of splits and captions count; what has no counterpart is left out by name."""
    for number, scene in enumerate(scenes[:4]):
        place = Path("val" if number == 3 else "train")
        write(tmp_path / "a" / place / f"{number}.png", scene.photo)
        write(tmp_path / "b" / place / f"{number}_seg.png", scene.control_map("RGB"))
    (tmp_path / "a" / "train" / "0.txt").write_text("a  red\troom ", "utf-8")
    (tmp_path / "b" / "train" / "1_seg.png").unlink()
    (tmp_path / "a" / "train" / "2.png").unlink()

    outcome = bring(folders=(tmp_path / "a", tmp_path / "b"))

    assert dict(outcome.rejected) == {"map-missing": 1, "photo-missing": 1}
    first, last = outcome.dataset.triples()
    assert (first.text, first.prompt, last.split) == ("a red room", PERSON, "val")
    assert np.array_equal(first.labels, expected(scenes[0].labels))


@pytest.mark.parametrize("layout", ["fill50k", "imagefolder", "kohya", "webdataset", "parquet", "label-ids"])
def test_a_foreign_layout(layout: str, scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Photos, maps, prompts and, where the layout names them, splits of four scenes."""
    folder = tmp_path / layout
    writers: dict[str, Callable[[Path, Scenes], object]] = {
        "fill50k": fill50k, "imagefolder": imagefolder, "kohya": kohya, "webdataset": webdataset,
        "parquet": parquet, "label-ids": indices,
    }  # fmt: skip
    writers[layout](folder, scenes[:4])

    outcome = bring(folder)

    triples = list(outcome.dataset.triples())
    assert [triple.origin.layout for triple in triples] == [layout] * 4
    for triple, scene in zip(triples, scenes, strict=False):
        assert np.array_equal(triple.labels, expected(scene.labels))
    if layout != "label-ids":
        assert [(triple.text, triple.prompt) for triple in triples] == [(f"caption {n}", PERSON) for n in range(4)]
    if layout in ("imagefolder", "parquet"):
        assert [triple.split for triple in triples] == ["train", "val", "train", "train"]
    assert not any(triple.map_by_person for triple in triples)
    assert not [problem for problem in outcome.dataset.check() if problem.severity == "error"]


def fill50k(folder: Path, scenes: Scenes) -> None:
    """Write scenes in the tutorial's layout."""
    rows = []
    for number, scene in enumerate(scenes):
        write(folder / "target" / f"{number}.png", scene.photo)
        write(folder / "source" / f"{number}.png", scene.control_map())
        rows.append({"source": f"source/{number}.png", "target": f"target/{number}.png", "prompt": f"caption {number}"})
    (folder / "prompt.json").write_text("\n".join(map(json.dumps, rows)))


def imagefolder(folder: Path, scenes: Scenes) -> None:
    """Write scenes with a metadata.csv; one is held out."""
    rows = [["file_name", "conditioning_image_file_name", "text", "split"]]
    for number, scene in enumerate(scenes):
        write(folder / f"{number}.png", scene.photo)
        write(folder / f"{number}_map.png", scene.control_map())
        rows.append(
            [f"{number}.png", f"{number}_map.png", f"caption {number}", "validation" if number == 1 else "train"]
        )
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def webdataset(folder: Path, scenes: Scenes) -> None:
    """Write scenes into two shards."""
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"{shard:06}.tar", "w") as tar:
            for number in range(2 * shard, 2 * shard + 2):
                members = {
                    "jpg": png(scenes[number].photo), "hint.png": png(scenes[number].control_map()),
                    "json": json.dumps({"caption": f"caption {number}"}).encode(),
                }  # fmt: skip
                for extension, data in members.items():
                    info = tarfile.TarInfo(f"{number:04}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, BytesIO(data))


def parquet(folder: Path, scenes: Scenes) -> None:
    """Write scenes with Hugging Face's datasets, as a split each; one is held out."""
    import datasets

    features = datasets.Features(
        image=datasets.Image(), conditioning_image=datasets.Image(), text=datasets.Value("string"),
        split=datasets.Value("string"),
    )  # fmt: skip
    rows = [
        {
            "image": {"bytes": png(scene.photo), "path": None},
            "conditioning_image": {"bytes": png(scene.control_map()), "path": None},
            "text": f"caption {number}", "split": "validation" if number == 1 else "train",
        }
        for number, scene in enumerate(scenes)
    ]  # fmt: skip
    (folder / "data").mkdir(parents=True)
    table = datasets.Dataset.from_list(rows, features=features)
    table.to_parquet(folder / "data" / "train-00000-of-00001.parquet")


def indices(folder: Path, scenes: Scenes) -> None:
    """Write scenes with grey maps of indices and a list of classes."""
    from segkit.palette import extend

    for number, scene in enumerate(scenes):
        write(folder / "images" / "train" / f"{number}.png", scene.photo)
        write(folder / "labels" / "train" / f"{number}.png", Image.fromarray(scene.labels))
    (folder / "classes.csv").write_bytes(extend.encode(ADE))


@pytest.mark.parametrize(("cause", "repair", "imported"), [
    ("bgr", "auto", 3), ("bgr", "only-lossless", 3), ("bgr", "never", 1), ("jpeg", "auto", 3),
    ("jpeg", "only-lossless", 1), ("shifted", "auto", 3),
])  # fmt: skip
def test_maps_are_repaired_as_far_as_allowed(
    cause: str, repair: str, imported: int, scenes: Scenes, bring: Importer, tmp_path: Path
) -> None:
    """What a map was is recorded; wrong colours are lossless to reverse, JPEG is not."""
    folder = kohya(tmp_path / "k", scenes[:3])
    for number in (0, 1):
        path = folder / "cond" / f"{number}.png"
        path.unlink()
        if cause == "jpeg":
            write(path.with_suffix(".jpg"), scenes[number].control_map(), quality=90)
        else:
            write(path, damage.by(cause, scenes[number].labels))

    outcome = bring(folder, repair=repair)

    assert outcome.imported == imported
    assert dict(outcome.repaired) == ({cause: 2} if imported == 3 else {})
    assert set(outcome.rejected) == (set() if imported == 3 else {"map-not-exact"})
    labels, truth = by_source(outcome.dataset), {f"{n}.png": expected(scene.labels) for n, scene in enumerate(scenes)}
    for triple in outcome.dataset.triples():
        name = triple.source.rpartition("/")[2]
        known = labels[name] != UNLABELLED  # pixels in doubt
        assert (labels[name] == truth[name])[known].mean() > 0.995
        assert known.mean() > 0.9
        assert triple.origin.cause == (cause if name != "2.png" else "exact")
        assert (triple.origin.changed > 0) == (name != "2.png")


def test_prompts_of_a_model_are_named(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """They count as drafts of that model, which persons may replace and another draft too."""
    outcome = bring(kohya(tmp_path / "k", scenes[:1]), prompts_by_model="llava-1.5")

    [triple] = outcome.dataset
    assert (triple.text, triple.by_person, triple.prompt.by, triple.prompt.model) == (
        "caption 0", False, "model", "llava-1.5",
    )  # fmt: skip


def test_long_prompts_are_named_or_cut(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """A person's words stay whole, with a note; on demand they end where CLIP's reading ends."""
    folder = kohya(tmp_path / "k", scenes[:1])
    (folder / "img" / "0.txt").write_text(" ".join(["a bright room"] * 40), "utf-8")

    whole = bring(folder, out="whole")
    cut = bring(folder, out="cut", shorten_prompts=True)
    again = bring(folder, out="cut", shorten_prompts=True)

    assert (whole.too_long, cut.too_long, again.changed, again.conflicts) == (1, 0, False, [])
    assert "shorten_prompts=True" in whole.notes[-1]
    assert [problem.rule for problem in whole.dataset.check()] == ["prompt-too-long"]
    assert (cut.dataset[0].prompt, cut.dataset[0].tokens <= 77, cut.dataset.check()) == (PERSON, True, [])


def test_missing_maps_and_prompts_are_made(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """On demand networks fill the gaps, and are recorded with the dataset."""
    folder = kohya(tmp_path / "k", scenes[:2])
    (folder / "cond" / "1.png").unlink()
    (folder / "img" / "0.txt").unlink()

    outcome = bring(folder, segment_missing="brightness", captioner="blip", loaders=LOADERS)

    first, second = outcome.dataset.triples()
    assert (outcome.imported, outcome.segmented, outcome.drafted) == (2, 1, 1)
    assert (first.prompt.by, second.prompt.by) == ("model", "person")
    assert np.array_equal(first.labels, expected(scenes[0].labels))
    assert second.origin.cause == ""
    assert first.text == "a bright room"
    assert outcome.dataset.info.models["segmenter"]["name"] == "brightness"
    assert outcome.dataset.info.models["captioner"]["name"] == "blip"
    assert not [problem for problem in outcome.dataset.check() if problem.severity == "error"]


def test_a_photo_turned_by_its_tag_and_its_map_are_fitted_alike(
    scenes: Scenes, bring: Importer, tmp_path: Path
) -> None:
    """A map drawn on the stored pixels is turned with the photo; where nothing tells, it is left out."""
    scene = scenes[0]
    for orientation in (6, 3):
        exif = Image.Exif()
        exif[0x0112] = orientation
        turn = Image.Transpose.ROTATE_90 if orientation == 6 else Image.Transpose.ROTATE_180
        write(tmp_path / "a" / f"{orientation}.png", scene.photo.transpose(turn), exif=exif)
        write(tmp_path / "b" / f"{orientation}.png", scene.control_map().transpose(turn))

    outcome = bring(folders=(tmp_path / "a", tmp_path / "b"), keep_duplicates=True)

    [triple] = outcome.dataset
    assert triple.geometry.orientation == 6
    assert np.array_equal(triple.labels, expected(scene.labels))
    assert dict(outcome.rejected) == {"map-unsure": 1}
