"""import_data as a whole: rubbish, dry runs, kills, and what a build does with imported triples."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit import storage
from segkit.build import pipeline as building
from segkit.build import units
from segkit.build.settings import BuildSettings
from segkit.dataset import Dataset
from segkit.errors import DatasetError, UsageError
from segkit.imports import pipeline, sources
from segkit.imports.settings import ImportSettings
from segkit.palette import Palette
from segkit.toy.world import damage
from tests.conftest import Segkit
from tests.dataset.test_dataset import Unbatched, brightness, contents, render
from tests.imports.conftest import SIZE, Importer, Scene, ade20k, kohya, write

ROOT = Path(__file__).parents[2]
Scenes = tuple[Scene, ...]


def main(source: Path, out: Path, last: int) -> None:
    """Import a folder, in units of two, and kill this process before it writes its N-th file; 0: never."""
    count, place = iter(range(1, 1000)), storage.write

    def written(path: Path, data: bytes) -> None:
        if next(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        place(path, data)

    storage.write = written
    units.UNIT = 2
    settings = ImportSettings(size=96, min_size=80, split="val=0.3")
    pipeline.import_data(sources.open_all([source]), out, settings)


@pytest.mark.parametrize("last", [1, 5, 13])
def test_a_killed_import_is_completed(last: int, scenes: Scenes, tmp_path: Path) -> None:
    """Killed before any file, it leaves whole triples only, and run again it ends as if nothing had happened."""
    source = kohya(tmp_path / "k", scenes)
    if last == 1:
        (source / "cond" / "3.png").unlink()
    command = [sys.executable, "-m", "tests.imports.test_pipeline", str(source), str(tmp_path / "out"), str(last)]

    killed = subprocess.run(command, cwd=ROOT, check=False)
    if (tmp_path / "out" / ".segkit" / "dataset.toml").exists():
        left, allowed = Dataset.open(tmp_path / "out"), ("orphan", "manifest-damaged", "no-triples")
        assert not [problem for problem in left.check() if problem.rule not in allowed]
    before = units.UNIT, storage.write
    try:
        main(source, tmp_path / "out", 0)
        main(source, tmp_path / "whole", 0)
    finally:
        units.UNIT, storage.write = before

    assert killed.returncode == -signal.SIGKILL
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert len(Dataset.open(tmp_path / "out")) == (5 if last == 1 else 6)


def test_rubbish_is_left_out_with_a_reason(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Each thing that can be wrong with a photo or a map has its own reason, and the sources are not touched."""
    folder = kohya(tmp_path / "k", scenes)
    photos, maps = folder / "img", folder / "cond"
    (maps / "0.png").unlink()
    (photos / "1.png").write_bytes((photos / "1.png").read_bytes()[:2000])
    write(maps / "2.png", scenes[2].photo)  # swapped with its photo
    write(maps / "3.png", scenes[3].control_map().resize((120, 120), Image.Resampling.NEAREST))
    (maps / "4.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    for name, photo, labels in (
        ("black", render(tmp_path / "r", 12, 6) / "006.png", np.full(SIZE[::-1], 255, np.uint8)),
        ("coarse", tmp_path / "r" / "009.png", None),
    ):
        shutil.copy(photo, photos / f"{name}.png")
        if labels is None:
            write(maps / f"{name}.png", scenes[5].control_map().resize((40, 30), Image.Resampling.NEAREST))
        else:
            write(maps / f"{name}.png", Scene(scenes[0].photo, labels).control_map())
    write(maps / "lonely.png", scenes[5].control_map())
    before = contents(folder)

    outcome = bring(folder)

    reasons = {rejection.source: rejection.reason for rejection in outcome.dataset.rejections()}
    assert reasons == {
        "k/0.png": "map-missing", "k/1.png": "damaged", "k/2.png": "map-unsure", "k/3.png": "map-size",
        "k/4.png": "map-unreadable", "k/black.png": "map-empty", "k/coarse.png": "map-size",
        "k/lonely.png": "photo-missing",
    }  # fmt: skip
    assert (outcome.found, outcome.imported) == (9, 1)
    assert contents(folder) == before
    again = bring(folder)
    assert (again.changed, again.rejected) == (False, outcome.rejected)


def test_a_corrected_map_is_imported_by_the_next_run(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """A reason that is gone is forgotten."""
    folder = kohya(tmp_path / "k", scenes[:2])
    write(folder / "cond" / "0.png", scenes[0].photo)
    bring(folder)
    write(folder / "cond" / "0.png", scenes[0].control_map())

    outcome = bring(folder)

    assert (outcome.imported, outcome.unchanged) == (1, 1)
    assert list(outcome.dataset.rejections()) == []


def test_a_dry_run_predicts_and_writes_nothing(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Its counts are those of the import."""
    folder = ade20k(tmp_path / "ADEChallengeData2016", scenes)
    write(folder / "annotations" / "training" / "ADE_train_00000002.png", damage.by("bgr", scenes[1].labels))
    (folder / "annotations" / "training" / "ADE_train_00000003.png").unlink()

    predicted = bring(folder, dry_run=True)
    assert not (tmp_path / "out").exists()
    outcome = bring(folder)

    for name in ("found", "imported", "rejected", "by_source", "splits", "repaired", "leaks"):
        assert getattr(predicted, name) == getattr(outcome, name)
    assert (dict(outcome.repaired), dict(outcome.rejected)) == ({"bgr": 1}, {"map-missing": 1})


def test_a_build_neither_prunes_nor_segments_imported_triples(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Photos that were never in its folder are not gone; a lost map of a person is not drawn by a segmenter."""
    dataset = bring(ade20k(tmp_path / "ADEChallengeData2016", scenes[:3])).dataset
    first, second, third = dataset
    photo = tmp_path / "ADEChallengeData2016" / "images" / "training" / "ADE_train_00000001.jpg"
    (tmp_path / "photos").mkdir()
    shutil.copy(photo, tmp_path / "photos" / "a.jpg")
    render(tmp_path / "photos", 1, 50)
    (dataset.folder / first.conditioning_image_file_name).unlink()
    chosen = BuildSettings(size=96, min_size=80, caption=False, prune=True, segmenter="brightness")
    tools = Unbatched(Palette.load("ade20k"), brightness, None, "brightness", "1", batch=2)

    outcome = building.build_dataset(tmp_path / "photos", dataset.folder, chosen, load=lambda _: tools)

    assert (outcome.made, outcome.kept, outcome.pruned, outcome.gone) == (1, 1, 0, 0)
    after = {triple.key: triple for triple in Dataset.open(dataset.folder)}
    assert len(after) == 4
    assert [after[triple.key].map_sha256 for triple in (first, second, third)] == [
        triple.map_sha256 for triple in (first, second, third)
    ]
    assert not (dataset.folder / first.conditioning_image_file_name).exists()
    assert Dataset.open(dataset.folder).info.models["segmenter"]["name"] == "brightness"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "nowhere does not exist. Expected a dataset of segkit or its shards, ADE20K"),
        ("empty", "empty is not a dataset"),
        ("torn", "data follows the end|no valid header|not a complete"),
        ("zipped", r"its maps, such as 1.png, are missing. Unpack .*panoptic_val2017.zip"),
        ("categories", "cannot be read"),
        ("columns", "its columns of pictures are a, b. Expected image"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line(place: str, message: str, tmp_path: Path) -> None:
    """The file, the line and what was expected."""
    folder = tmp_path / place
    if place != "nowhere":
        folder.mkdir()
    if place == "torn":
        _tar(folder / "0.tar")
        (folder / "0.tar").write_bytes((folder / "0.tar").read_bytes()[:700] + b"x" * 2000)
    elif place in ("zipped", "categories"):
        annotation = {"image_id": 1, "file_name": "1.png", "segments_info": []}
        content = {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [annotation], "categories": []}
        (folder / "annotations").mkdir()
        lacking = {} if place == "zipped" else {"categories": 3}
        (folder / "annotations" / "panoptic_val2017.json").write_text(json.dumps(content | lacking))
        (folder / "annotations" / "panoptic_val2017.zip").write_bytes(b"PK")
    elif place == "columns":
        from pyarrow import parquet, table

        parquet.write_table(table({"a": [b"1"], "b": [b"2"]}), folder / "train.parquet")

    with pytest.raises(DatasetError, match=message):
        sources.open_all([folder])


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        tar.add(__file__, "0.hint.png")


def test_wrong_use_is_refused(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Nothing to import, a source twice, or the output inside a source."""
    folder = kohya(tmp_path / "k", scenes[:1])

    with pytest.raises(UsageError, match="nothing to import"):
        sources.open_all([])
    with pytest.raises(UsageError, match="a source is passed twice"):
        sources.open_all([folder, folder])
    with pytest.raises(UsageError, match="are the same, or one lies in the other"):
        bring(folder, out="k/inside")


def test_the_command_line(scenes: Scenes, segkit: Segkit, tmp_path: Path) -> None:
    """A table that adds up, JSON, a dry run, exit code 1 for conflicts and 2 for wrong use."""
    one, two = kohya(tmp_path / "one", scenes[:2]), kohya(tmp_path / "two", scenes[1:3], first=5)
    options = ("-o", tmp_path / "out", "--size", 96, "--min-size", 80)

    dry = segkit("import", one, *options, "--dry-run")
    first = segkit("import", one, *options, "--split", "val=0.1")
    second = segkit("import", one, two, *options, "--json")
    alone = segkit("import", *options, "--photos", one / "img")
    fixed = segkit("import", one, "-o", tmp_path / "out", "--size", 128)

    assert (dry.code, first.code, second.code, alone.code, fixed.code) == (0, 0, 1, 2, 2)
    assert "Nothing was written" in dry.out
    assert "2 items found" in first.out
    outcome = json.loads(second.out)
    assert (outcome["found"], outcome["imported"], outcome["unchanged"], outcome["merged"]) == (4, 1, 3, 0)
    assert [conflict["what"] for conflict in outcome["conflicts"]] == ["prompt"]
    assert f"--photos {one / 'img'} needs the folder of its maps as well" in alone.err
    assert "was built with --size 96, not 128" in fixed.err
    assert segkit("check", tmp_path / "out").code == 0


def test_the_python_function(scenes: Scenes, tmp_path: Path) -> None:
    """One source or several, paths or datasets; the result has the dataset."""
    import segkit

    folder = kohya(tmp_path / "k", scenes[:2])
    outcome = segkit.import_data(folder, tmp_path / "out", size=96, min_size=80)
    copied = segkit.import_data([outcome.dataset], tmp_path / "copy")
    pairs = segkit.import_data([], tmp_path / "p", photos=folder / "img", maps=folder / "cond", size=96, dry_run=True)

    assert (outcome.imported, copied.imported, pairs.found) == (2, 2, 2)
    assert [triple.text for triple in copied.dataset] == ["caption 0", "caption 1"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
