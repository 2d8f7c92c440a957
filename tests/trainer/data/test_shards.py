"""A dataset in shards is the same training data as the dataset itself, and held to the same promises."""

import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from segkit import remote, storage
from segkit.dataset import Dataset
from segkit.dataset.formats import shards as layout
from segkit.dataset.formats.shards import Index, Sample
from segkit.errors import DatasetError, MapError, SegkitError
from segkit.maps import codec
from segkit.palette import Palette
from segkit.settings import Check
from tests.conftest import Segkit
from trainer.data import crops, examples
from trainer.data.examples import Examples
from trainer.data.members import Member
from trainer.data.shards import Cache
from trainer.run import run_folder
from trainer.sample import requests
from trainer.settings import TrainSettings

ADE = Palette.load("ade20k")


def load(place: Path | str, cache: Path | None = None, **settings: Any) -> Examples:
    """Read the examples of shards as a training does."""
    return examples.load(place, TrainSettings(**settings), cache=Cache(cache, 10**9))


def rewritten(folder: Path, change: Callable[[Sample], tuple[Sample, dict[str, bytes]]]) -> Path:
    """Write shards again whose index agrees with them, with every sample changed; return the folder."""
    index = layout.decode_index((folder / layout.INDEX).read_bytes(), "index")
    entries = []
    for shard in index.shards:
        tar, samples, data = (folder / shard.name).read_bytes(), [], b""
        for sample in layout.decode_samples((folder / shard.index_name).read_bytes(), shard, "index"):
            contents = {name: tar[start : start + size] for name, (start, size) in sample.members.items()}
            changed, new = change(sample)
            contents |= new | {layout.RECORD: b"{}"}
            part, members = layout.pack(sample.key, contents, len(data))
            data += part
            samples.append(Sample(changed.triple, members))
        listing = layout.encode_samples(samples)
        (folder / shard.name).write_bytes(data)
        (folder / shard.index_name).write_bytes(listing)
        hashes = {"sha256": storage.sha256(data), "index_sha256": storage.sha256(listing)}
        entries.append(structs.replace(shard, bytes=len(data), index_bytes=len(listing), **hashes))
    (folder / layout.INDEX).write_bytes(layout.encode_index(Index(index.name, index.info, tuple(entries))))
    return folder


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    """A copy of the shards that may be changed."""
    return Path(shutil.copytree(shards, tmp_path / "copied"))


def test_shards_are_the_data_of_their_dataset(rooms: Path, shards: Path, url: str) -> None:
    """Splits, order, prompts, sizes, bytes and hash are equal; so is what a run records of each triple."""
    dataset = examples.find(rooms)

    for data in (examples.find(shards), examples.find(url)):
        assert data.hash == dataset.hash
        assert run_folder._digests(data) == run_folder._digests(dataset)
        assert data.palette == dataset.palette
        assert (len(data.train), len(data.val)) == (5, 1)
        for split in ("train", "val"):
            for a, b in zip(getattr(data, split), getattr(dataset, split), strict=True):
                assert (a.text, a.width, a.height) == (b.text, b.width, b.height)
                assert a.photo.read_bytes() == b.photo.read_bytes()
                assert a.control_map.read_bytes() == b.control_map.read_bytes()


def test_added_classes_and_decisions_come_with_the_index(rooms: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The palette is the dataset's with the classes that a person added, and require_reviewed uses the decisions."""
    folder, out = shutil.copytree(rooms, tmp_path / "rooms"), tmp_path / "shards"
    dataset = Dataset.open(folder)
    dataset.decide(dataset.train[1].key, "accepted")
    assert segkit("relabel", folder, "--add-class", "hammock").code == 0
    assert segkit("export", folder, "--to", "webdataset", "-o", out).code == 0

    reviewed = load(out, require_reviewed=True)
    palette = examples.find(folder).palette

    assert [example.text for example in reviewed.train] == [dataset.train[1].text]
    assert reviewed.palette == palette
    assert palette is not None
    assert palette[-1].name == "hammock"
    shutil.rmtree(out)
    assert segkit("export", rooms, "--to", "webdataset", "-o", out).code == 0
    with pytest.raises(
        DatasetError, match=r"no triple of the split train is accepted. Accept some with: segkit review"
    ):
        load(out, require_reviewed=True)


def _cut(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def _flip(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "name", "message"),
    [
        (lambda folder, name: (folder / name).unlink(), "000001.tar", "000001.tar does not exist"),
        (_cut, "000001.tar", "000001.tar has .* bytes; index.json says"),
        (_flip, "000001.tar", "000001.tar was changed after it was exported: its hash differs"),
        (lambda folder, name: (folder / name).unlink(), "000001.index.jsonl", "000001.index.jsonl: cannot be read"),
        (_flip, "000001.index.jsonl", "000001.index.jsonl is not the index that index.json names: its hash differs"),
        (_cut, "index.json", "index.json is damaged"),
    ],
)
def test_damaged_shards_are_refused(copied: Path, damage: Callable[[Path, str], None], name: str, message: str) -> None:
    """One line names the file, and says what to do."""
    damage(copied, name)
    with pytest.raises(DatasetError, match=message) as refused:
        load(copied)
    assert "\n" not in str(refused.value)
    assert "again" in str(refused.value)


def test_a_url_without_shards_is_refused(url: str) -> None:
    """The missing index is named."""
    with pytest.raises(SegkitError, match=r"memory://bucket/none/index.json does not exist"):
        load("memory://bucket/none")


def _off_palette(sample: Sample) -> tuple[Sample, dict[str, bytes]]:
    """Give a sample a map with a pixel of no class, and a record that agrees with it."""
    control_map = codec.paint(np.full((sample.triple.height, sample.triple.width), 3, np.uint8), ADE)
    control_map.putpixel((5, 5), 151)
    buffer = BytesIO()
    control_map.save(buffer, "PNG")
    digest = storage.sha256(buffer.getvalue())
    return Sample(structs.replace(sample.triple, map_sha256=digest), {}), {layout.MAP: buffer.getvalue()}


@pytest.mark.parametrize("check", ["full", "fast", "none"])
def test_a_map_off_the_palette_never_reaches_the_network(copied: Path, check: Check) -> None:
    """Refused when the shards are checked, or else when the map is read, although all hashes agree."""
    folder = rewritten(copied, _off_palette)
    if check != "none":
        with pytest.raises(DatasetError, match=r"6 errors, .* 1 pixel is not of a class of ade20k"):
            load(folder, check=check)
        return
    data = load(folder, check=check)
    view = crops.center_crop(data.train[0], (64, 64), False)
    with pytest.raises(MapError, match="1 pixel is off the palette ade20k"):
        crops.control_map(data.train[0], view, data.palette)


def test_a_member_with_another_hash_is_refused(copied: Path) -> None:
    """A photo that is not the one of its record is found by the check, and when it is read."""

    def other_photo(sample: Sample) -> tuple[Sample, dict[str, bytes]]:
        return Sample(structs.replace(sample.triple, photo_sha256="00" * 32), {}), {}

    folder = rewritten(copied, other_photo)
    with pytest.raises(DatasetError, match="was changed after it was exported: its hash differs"):
        load(folder, check="full")
    data = load(folder, check="none")
    with pytest.raises(DatasetError, match="was changed after it was exported: its hash differs"):
        crops.photo(data.train[0], crops.center_crop(data.train[0], (64, 64), False))


def test_records_keep_the_rules_of_a_dataset(copied: Path) -> None:
    """Near-duplicates in two splits, a triple that appears twice, and another palette are refused."""
    index = layout.decode_index((copied / layout.INDEX).read_bytes(), "index")

    def one_group(sample: Sample) -> tuple[Sample, dict[str, bytes]]:
        return Sample(structs.replace(sample.triple, group="0" * 16), {}), {}

    with pytest.raises(DatasetError, match=r"differs from coco_panoptic; colours may stand for other classes"):
        load(copied, palette="coco_panoptic")
    twice = Index(index.name, index.info, (*index.shards, structs.replace(index.shards[0], name="000009.tar")))
    for suffix in (".tar", ".index.jsonl"):
        shutil.copy(copied / f"000000{suffix}", copied / f"000009{suffix}")
    (copied / layout.INDEX).write_bytes(layout.encode_index(twice))
    with pytest.raises(DatasetError, match="appears twice"):
        load(copied)
    (copied / layout.INDEX).write_bytes(layout.encode_index(index))
    with pytest.raises(DatasetError, match=r"its near-duplicate .* in"):
        load(rewritten(copied, one_group))


def test_shards_that_change_during_a_training_end_it(copied: Path) -> None:
    """A shard that is replaced, cut short or deleted after the check is one clear line when it is read next."""
    data = load(copied)
    member = data.train[0].control_map
    assert isinstance(member, Member)

    def read() -> None:
        crops.open_map(data.train[0])

    read()
    shard = copied / member.shard
    content = bytearray(shard.read_bytes())
    content[member.start + 50] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match=f"{member.stem}.png: was changed after it was exported"):
        read()
    shard.write_bytes(content[: member.start + 50])
    with pytest.raises(DatasetError, match=r"000000.tar was cut short: it ends within"):
        read()
    shard.unlink()
    with pytest.raises(DatasetError, match=r"000000.tar: cannot be read"):
        read()


def test_checked_shards_are_not_read_again(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With "fast", shards that were sound and have kept size and time are passed over; "full" reads all."""
    from segkit.dataset import stamps
    from trainer.data.shards import LocalShards

    read: list[str] = []
    digest = LocalShards.digest

    def noted(self: LocalShards, name: str) -> str:
        read.append(name)
        return digest(self, name)

    monkeypatch.setattr(LocalShards, "digest", noted)
    monkeypatch.setattr(stamps, "RACY", 0)
    for check, number in (("fast", 3), ("fast", 0), ("full", 3)):
        read.clear()
        load(copied, tmp_path / "cache", check=check)
        assert len(read) == number
    _flip(copied, "000002.tar")
    with pytest.raises(DatasetError, match=r"000002.tar was changed"):
        load(copied, tmp_path / "cache")


def test_a_full_check_reads_remote_shards(copied: Path, url: str) -> None:
    """A remote shard with another hash is refused by a full check; a fast one compares sizes."""
    _flip(copied, "000001.tar")
    location = remote.location(url)
    load(url, check="full")
    location.upload(copied / "000001.tar", "000001.tar")
    load(url)
    with pytest.raises(DatasetError, match=r"memory://bucket/rooms/000001.tar was changed after it was exported"):
        load(url, check="full")
    location.write("000001.tar", b"short")
    with pytest.raises(DatasetError, match=r"000001.tar has 5 bytes; index.json says"):
        load(url)


def test_maps_of_shards_are_drawn_and_checked(shards: Path, url: str, rooms: Path, segkit: Segkit) -> None:
    """`generate` draws the held-out triples of shards, and check-palette reads their maps with their palette."""
    checked = segkit("check-palette", shards)
    names = [request.name for request in requests.find(rooms)]

    assert (checked.code, checked.out.splitlines()[0]) == (
        0, f"{shards}: a dataset in shards, 6 maps compared with ade20k.",
    )  # fmt: skip
    for place in (shards, url):
        drawn = requests.find(place)
        assert [request.name for request in drawn] == names
        assert drawn[0].control_map.read_bytes() == requests.find(rooms)[0].control_map.read_bytes()
