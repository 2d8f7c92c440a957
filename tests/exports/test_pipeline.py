"""Exports are the same bytes however often they are interrupted, and nothing else is ever overwritten."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from segkit import storage
from segkit.dataset import Dataset, subset
from segkit.errors import DatasetError, LockedError, SettingError, StorageError, UsageError
from segkit.exports import pipeline, record, selection
from segkit.exports.target import Target
from segkit.remote import location
from segkit.settings import Kind
from tests.exports.conftest import Exporter, chosen, contents

SMALL = {"webdataset": {"shard_size": "40kB"}, "parquet": {"shard_size": "40kB"}}


@pytest.fixture(autouse=True)
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide seven triples into four pieces."""
    monkeypatch.setattr(selection, "UNIT", 2)


@pytest.fixture
def copy(rooms: Dataset, tmp_path: Path) -> Dataset:
    """A copy of the dataset, to be changed."""
    subset.subset(rooms, tmp_path / "copy", None, copy=True)
    return Dataset.open(tmp_path / "copy")


@pytest.mark.parametrize("to", get_args(Kind))
def test_an_interrupted_export_ends_with_the_same_bytes(
    rooms: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    """Stopped later and later until it is done; meanwhile all that has a final name is final."""
    settings = chosen(to, **SMALL.get(to, {}))
    pipeline.export(rooms, tmp_path / "whole", settings)
    whole, stops = contents(tmp_path / "whole"), 0
    remaining = count()
    replaced = Path.replace

    def stopping(path: Path, target: Any) -> Path:
        if next(remaining) == 3 + stops * (1 if to in SMALL else 5):
            raise KeyboardInterrupt
        return replaced(path, target)

    while True:
        with monkeypatch.context() as patch, suppressed() as interrupted:
            remaining = count()
            patch.setattr(Path, "replace", stopping)
            result = pipeline.export(rooms, tmp_path / "parts", settings)
        if not interrupted:
            break
        stops += 1
        written = contents(tmp_path / "parts")
        assert written.items() <= whole.items()

    assert contents(tmp_path / "parts") == whole
    assert stops > 2
    assert (result.triples, result.written < 7) == (7, True)
    assert pipeline.export(rooms, tmp_path / "parts", settings).written == 0


class suppressed:  # noqa: N801 - reads like contextlib.suppress
    """Suppress KeyboardInterrupt, and be true if one came."""

    def __enter__(self) -> "suppressed":
        self.came = False
        return self

    def __exit__(self, kind: Any, *_: object) -> bool:
        self.came = kind is KeyboardInterrupt
        return self.came

    def __bool__(self) -> bool:
        return self.came


KILLED = """
import os, signal, stat, sys
from itertools import count
from pathlib import Path
from segkit import storage
from segkit.dataset import Dataset
from segkit.exports import pipeline, selection
from segkit.settings import DatasetExportSettings

selection.UNIT, sync, calls = 2, os.fsync, count()

def fsync(descriptor):
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and next(calls) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)

os.fsync = fsync
settings = DatasetExportSettings(to=sys.argv[3], shard_size=sys.argv[4])
pipeline.export(Dataset.open(sys.argv[1]), Path(sys.argv[2]), settings)
"""


@pytest.mark.parametrize("to", ["webdataset", "kohya"])
def test_kill_9_loses_nothing(rooms: Dataset, tmp_path: Path, to: str) -> None:
    """Killed while a file is flushed: its temporary file is deleted, and the result is that of one run."""
    size = SMALL.get(to, {}).get("shard_size", "")
    command = [sys.executable, "-c", KILLED, str(rooms.folder), str(tmp_path / "out"), to, size]
    root = Path(__file__).parents[2]

    killed = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    left = [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(storage.TEMPORARY)]
    result = pipeline.export(rooms, tmp_path / "out", chosen(to, shard_size=size))
    pipeline.export(rooms, tmp_path / "whole", chosen(to, shard_size=size))

    assert killed.returncode == -signal.SIGKILL
    assert left
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert 0 < result.written < 7


def test_an_export_killed_at_its_first_record_is_begun_again(rooms: Dataset, tmp_path: Path) -> None:
    """Temporary files of segkit, its lock, and parts without a record are its own; a file of another name is not."""
    out, part = tmp_path / "out", storage.TEMPORARY + "0123456789ab"
    (out / "img").mkdir(parents=True)
    (out / record.FOLDER / "parts").mkdir(parents=True)
    (out / record.LOCK).write_text("process 1 on elsewhere")
    (out / record.part(0)).write_text("half a line")
    for folder in (out / record.FOLDER, out / "img", out):
        (folder / part).write_bytes(b"half")
    (out / record.FOLDER / "mine.json").write_bytes(b"mine")

    with pytest.raises(UsageError, match=r"such as \.segkit-export/mine\.json"):
        pipeline.export(rooms, out, chosen("kohya"))
    assert (out / part).exists()
    (out / record.FOLDER / "mine.json").unlink()
    pipeline.export(rooms, out, chosen("kohya"))
    pipeline.export(rooms, tmp_path / "whole", chosen("kohya"))

    assert contents(out) == contents(tmp_path / "whole")


def test_other_files_are_never_touched(rooms: Dataset, tmp_path: Path) -> None:
    """A folder with foreign files, a file, the dataset itself and what surrounds it are refused."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")

    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"holds files that no export wrote, such as notes\.txt"):
            pipeline.export(rooms, mine, chosen("kohya", overwrite=overwrite))
    with pytest.raises(UsageError, match="is a file"):
        pipeline.export(rooms, mine / "notes.txt", chosen("kohya"))
    for output in (rooms.folder, rooms.folder / "out", rooms.folder.parent):
        with pytest.raises(UsageError, match="one lies in the other"):
            pipeline.export(rooms, output, chosen("kohya"))
    assert contents(mine) == {"notes.txt": b"mine"}


def test_an_export_is_replaced_only_on_request(rooms: Dataset, tmp_path: Path) -> None:
    """Another layout, other settings: refused with the difference; with overwrite, no file of the old one is left."""
    out = tmp_path / "out"
    pipeline.export(rooms, out, chosen("kohya"))
    before = contents(out)

    with pytest.raises(UsageError, match="holds an export as kohya"):
        pipeline.export(rooms, out, chosen("fill50k"))
    with pytest.raises(UsageError, match=r"with split='all', not 'val'.*overwrite=True"):
        pipeline.export(rooms, out, chosen("kohya", split="val"))
    assert contents(out) == before
    (out / "img" / "mine.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"such as img/mine\.png"):
        pipeline.export(rooms, out, chosen("fill50k", overwrite=True))
    assert contents(out) == {**before, "img/mine.png": b"mine"}
    (out / "img" / "mine.png").unlink()
    pipeline.export(rooms, out, chosen("fill50k", overwrite=True))
    pipeline.export(rooms, tmp_path / "fresh", chosen("fill50k"))
    assert contents(out) == contents(tmp_path / "fresh")
    assert not (out / "img").exists()


@pytest.mark.parametrize("to", get_args(Kind))
def test_missing_and_damaged_files_are_restored(rooms: Dataset, tmp_path: Path, to: str) -> None:
    """Files that were deleted or cut short are noticed at once, others of equal size when hashes are compared."""
    settings, out = chosen(to, **SMALL.get(to, {})), tmp_path / "out"
    pipeline.export(rooms, out, settings)
    whole = contents(out)
    names = [name for name in whole if not name.startswith(record.FOLDER)]
    deleted, cut, flipped = names[0], names[len(names) // 2], names[-1]
    (out / deleted).unlink()
    (out / cut).write_bytes(whole[cut][:-1])
    (out / flipped).write_bytes(bytes([whole[flipped][0] ^ 1]) + whole[flipped][1:])

    result = pipeline.export(rooms, out, settings)
    verified = pipeline.export(rooms, out, chosen(to, verify=True, **SMALL.get(to, {})))

    assert (result.written, set(result.restored)) == (0, {deleted, cut})
    assert verified.written == 0
    assert set(verified.restored) <= {flipped}  # a shard's index may have been written with its other file
    assert contents(out) == whole
    assert pipeline.export(rooms, out, chosen(to, verify=True, **SMALL.get(to, {}))).restored == ()


def test_a_damaged_record_of_files_costs_a_second_export(rooms: Dataset, tmp_path: Path) -> None:
    """Without the list of a piece's files, or the mark of the end, they are written again."""
    out = tmp_path / "out"
    pipeline.export(rooms, out, chosen("kohya"))
    whole = contents(out)
    (out / record.files(1)).write_text("{")
    (out / record.COMPLETE).write_text("{")

    assert pipeline.export(rooms, out, chosen("kohya")).written == 2
    assert contents(out) == whole


def test_what_differs_from_an_earlier_export_is_said(copy: Dataset, tmp_path: Path) -> None:
    """Another name, other triples, or both: each is stated as it is."""
    out = tmp_path / "out"
    pipeline.export(copy, out, chosen("kohya"))
    renamed = tmp_path / "renamed"

    def difference() -> str:
        with pytest.raises(UsageError) as refused:
            pipeline.export(Dataset.open(renamed), out, chosen("kohya"))
        return str(refused.value)

    shutil.copytree(copy.folder, renamed)
    assert "of copy, not of renamed: their triples are the same" in difference()
    Dataset.open(renamed).set_prompts({copy[0].key: "another prompt"})
    assert "of copy, not of renamed: their triples differ (7 triples as before, but not the same)" in difference()
    Dataset.open(renamed).decide(copy[0].key, "rejected")
    assert "their triples differ (7 triples then, 6 now)" in difference()


def test_a_changed_dataset_is_noticed(copy: Dataset, tmp_path: Path) -> None:
    """Between two calls, and during one, when what is written is not declared complete."""
    out = tmp_path / "out"
    pipeline.export(copy, out, chosen("label-ids"))
    copy.set_prompts({copy[0].key: "another prompt"})

    with pytest.raises(UsageError, match="holds an export of the dataset before it was changed"):
        pipeline.export(copy, out, chosen("label-ids"))

    def edit(stage: str, done: int, total: int, note: str = "") -> None:
        if done == 5:  # training triples are done, the triple for tests is not
            Dataset.open(copy.folder).set_prompts({copy.test[0].key: f"a prompt {stage}"})

    with pytest.raises(DatasetError, match="was changed while it was exported"):
        pipeline.export(Dataset.open(copy.folder), tmp_path / "new", chosen("parquet"), edit)
    assert not record.is_complete(Target(location(tmp_path / "new")))
    assert not list((tmp_path / "new" / "data").glob("test-*"))  # nothing is written that the record does not mean


@pytest.mark.parametrize("to", get_args(Kind))
def test_a_refused_export_leaves_nothing(copy: Dataset, tmp_path: Path, to: str) -> None:
    """The first triple is damaged: neither files nor folders stay, but for those that were there."""
    (copy.folder / copy[0].file_name).write_bytes(b"damaged")
    (tmp_path / "mine" / "empty").mkdir(parents=True)

    for name in ("new", "mine"):
        with pytest.raises(DatasetError, match="was changed after it was checked"):
            pipeline.export(copy, tmp_path / name, chosen(to))

    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "mine").rglob("*")) == [tmp_path / "mine" / "empty"]


@pytest.mark.parametrize("name", ["file_name", "conditioning_image_file_name"])
def test_a_changed_picture_ends_the_export(copy: Dataset, tmp_path: Path, name: str) -> None:
    """A photo or map with other bytes than its record, or none, is named and not exported."""
    path = copy.folder / getattr(copy[2], name)
    data = path.read_bytes()
    path.write_bytes(data + b"\0")

    for to in ("webdataset", "imagefolder"):
        with pytest.raises(DatasetError, match=f"{path.name} was changed after it was checked. Run: segkit check"):
            pipeline.export(copy, tmp_path / to, chosen(to))
        assert not list((tmp_path / to).rglob(f"*{path.name}"))
    path.unlink()
    for to in ("webdataset", "imagefolder"):
        with pytest.raises(DatasetError, match=f"{path.name} is missing. Run: segkit check"):
            pipeline.export(copy, tmp_path / to, chosen(to))


def test_maps_without_a_hash_are_checked_by_their_pixels(copy: Dataset, tmp_path: Path) -> None:
    """Records of earlier versions have no hashes: a map that is not the dataset's palette exactly is refused."""
    triples = [replace(triple, photo_sha256="", map_sha256="") for triple in copy.triples()]
    with copy.writing():
        copy.replace_all(triples)
    pipeline.export(Dataset.open(copy.folder), tmp_path / "fine", chosen("webdataset"))
    wrong = triples[0].within(copy.folder).control_map.convert("RGB")
    wrong.save(copy.folder / triples[0].conditioning_image_file_name)

    with pytest.raises(DatasetError, match="is not an indexed picture with the dataset's palette"):
        pipeline.export(Dataset.open(copy.folder), tmp_path / "wrong", chosen("webdataset"))


def test_only_what_is_asked_for_is_exported(rooms: Dataset, tmp_path: Path) -> None:
    """A split, accepted triples, and a random sample that depends on seed and keys alone; never what was left out."""

    def keys(**settings: Any) -> list[str]:
        folder = tmp_path / str(sorted(settings.items()))
        result = pipeline.export(rooms, folder, chosen("fill50k", **settings))
        names = [path.stem for path in folder.rglob("target/*")]
        assert (len(names), sum(result.splits.values())) == (result.triples, result.triples)
        return sorted(names)

    def expected(condition: Any) -> list[str]:
        return sorted(triple.key for triple in rooms if condition(triple))

    assert len(keys()) == 7
    assert keys(split="val") == expected(lambda triple: triple.split == "val")
    assert keys(accepted_only=True) == expected(lambda triple: triple.review == "accepted")
    draws = [keys(sample=3, seed=seed) for seed in range(4)]
    assert [len(draw) for draw in draws] == [3] * 4
    assert len({tuple(draw) for draw in draws}) > 1
    assert set(keys(sample=2, seed=0)) < set(draws[0])
    assert len(keys(sample=99)) == 7
    with pytest.raises(UsageError, match="No triple meets the conditions"):
        keys(split="test", accepted_only=True)


def test_a_sample_and_lost_classes_are_stated(exported: Exporter, rooms: Dataset, tmp_path: Path) -> None:
    """Notes name the sample, classes that RGB cannot tell apart, held-out triples in shards, and odd sizes."""
    sample = pipeline.export(rooms, tmp_path / "sample", chosen("parquet", sample=2, seed=5))
    colors = pipeline.export(rooms, tmp_path / "colors", chosen("kohya", maps="rgb"))
    shards = pipeline.export(rooms, tmp_path / "shards", chosen("webdataset"))
    sizes = pipeline.export(rooms, tmp_path / "sizes", chosen("fill50k"))

    assert sample.notes == ("A random sample of 2 of 7 triples, drawn with seed 5.",)
    assert "A random sample of 2 of 7 triples" in (tmp_path / "sample" / "README.md").read_text()
    assert "skyscraper is read as road" in colors.notes[0]
    assert "3 triples are held out" in shards.notes[0]
    assert ["sizes" in sizes.notes[0], "multiples of 64" in sizes.notes[1]] == [True, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": "kohya", "shard_size": "1GB"}, "to=kohya writes no shards"),
        (
            {"to": "webdataset", "maps": "rgb"},
            r"to=webdataset has maps as they are stored, indexed PNGs.*Remove maps=rgb\.",
        ),
    ],
)
def test_settings_without_meaning_are_refused(
    rooms: Dataset, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    """A setting that a layout cannot honour is named instead of ignored."""
    with pytest.raises(UsageError, match=message):
        pipeline.export(rooms, tmp_path / "out", chosen(**settings))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", ["big", "-1", "0", "1XB", "GB"])
def test_a_shard_size_is_a_size(size: str) -> None:
    """What is no size is refused when the settings are created."""
    with pytest.raises(SettingError, match="expected a size such as 500MB or 1GB"):
        chosen("webdataset", shard_size=size)


def test_progress_counts_what_is_done(rooms: Dataset, tmp_path: Path) -> None:
    """From the first triple to all of them, as other commands count."""
    steps: list[tuple[str, int, int]] = []

    pipeline.export(rooms, tmp_path / "out", chosen("kohya"), lambda *step: steps.append(step[:3]))

    assert steps[0] == ("triples", 1, 7)
    assert steps[-1] == ("triples", 7, 7)
    assert steps == sorted(steps)


def test_one_writer_at_a_time(rooms: Dataset, tmp_path: Path) -> None:
    """A second export into the same folder is refused while the first runs."""

    def again(stage: str, done: int, total: int, note: str = "") -> None:
        with pytest.raises(LockedError, match="is being written by process"):
            pipeline.export(rooms, tmp_path / "out", chosen("kohya"))

    assert pipeline.export(rooms, tmp_path / "out", chosen("kohya"), again).written == 7


def test_a_full_disk_is_one_line(rooms: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up: a StorageError, and the same call continues afterwards."""

    def full(descriptor: int) -> Iterator[None]:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left on device"):
            pipeline.export(rooms, tmp_path / "out", chosen("label-ids"))
    assert pipeline.export(rooms, tmp_path / "out", chosen("label-ids")).triples == 7


def test_a_damaged_record_is_refused(rooms: Dataset, tmp_path: Path) -> None:
    """A record that is damaged or newer is named; nothing is deleted for it."""
    pipeline.export(rooms, tmp_path / "out", chosen("label-ids"))
    path = tmp_path / "out" / record.RECORD
    content = json.loads(path.read_text())

    for change, message in (({"version": 9}, "version 9"), ({"to": "other"}, "damaged"), ({"dataset": {}}, "damaged")):
        path.write_text(json.dumps(content | change))
        with pytest.raises(DatasetError, match=message):
            pipeline.export(rooms, tmp_path / "out", chosen("label-ids", overwrite=True))
