"""The index of shards: what is written is read again, and whatever else is found is refused in one line."""

import io
import json
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from segkit import storage
from segkit.dataset.formats import shards
from segkit.dataset.formats.shards import Index, Sample, Shard
from segkit.dataset.info import Info
from segkit.dataset.lines import encode
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError
from segkit.palette import Palette
from tests.dataset.test_triple import triples

_INFO = Info(Palette.load("ade20k"), {"segmenter": {"name": "toy", "revision": "1"}}, {"protocol": "ade20k"})


def _packed(triple: Triple, photo: bytes = b"photo", control_map: bytes = b"map") -> tuple[Shard, bytes, bytes]:
    """Return a shard of one triple, its tar file and its index."""
    data, members = shards.pack(triple.key, shards.members(triple, photo, control_map), 0)
    data += shards.END
    lines = shards.encode_samples([Sample(triple, members)])
    hashes = storage.sha256(data), storage.sha256(lines)
    return Shard("000000.tar", len(data), hashes[0], 1, hashes[1], len(lines)), data, lines


@given(triples(), st.binary(max_size=600), st.binary(max_size=600))
def test_every_member_lies_where_the_index_says(triple: Triple, photo: bytes, control_map: bytes) -> None:
    """Contents read by range are those that tarfile reads, in the order of the layout, and the record is the triple."""
    shard, data, lines = _packed(triple, photo, control_map)

    (sample,) = shards.decode_samples(lines, shard, "000000.index.jsonl")
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        by_tar = {member.name: (member.mtime, file.extractfile(member).read()) for member in file}  # type: ignore[union-attr]

    by_range = {f"{triple.key}.{name}": (0, data[at : at + size]) for name, (at, size) in sample.members.items()}
    contents = [photo, control_map, triple.text.encode()]
    assert list(by_range.items()) == list(by_tar.items())
    assert [content for _, content in by_range.values()][:3] == contents
    assert sample.triple == triple
    assert json.loads(lines)["record"] == json.loads(storage.to_line(triple.to_json()))
    assert by_range[f"{triple.key}.json"][1] == encode(triple)


@given(st.sampled_from(["jpg", "png", "hint.png", "txt", "json"]), st.integers(0, 8**11 - 1))
def test_headers_are_those_of_tarfile(extension: str, size: int) -> None:
    """The bytes do not depend on the version of Python, and are those that its own library writes."""
    member = tarfile.TarInfo(f"0123456789abcdef.{extension}")
    member.size = size

    assert shards.header(member.name, size) == member.tobuf(tarfile.USTAR_FORMAT)
    with pytest.raises(ValueError, match="a member of a shard has at most"):
        shards.header(member.name, size + 8**11)


def test_the_index_is_read_again() -> None:
    """Palette, settings and shards survive; the index holds the palette's colours itself."""
    index = Index("rooms", _INFO, tuple(Shard(f"00000{i}.tar", 1024, "a" * 64, i, "b" * 64, 9) for i in range(3)))

    data = shards.encode_index(index)

    assert shards.decode_index(data, "index.json") == index
    assert (index.triples, index.shards[1].index_name) == (3, "000001.index.jsonl")
    assert json.loads(data)["dataset"]["palette"]["classes"][0]["color"] == "#787878"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is not an index of shards"),
        ({"version": 2}, "has version 2; this segkit reads up to 1"),
        ({"triples": 7}, "its shards hold 1 triples, expected 7"),
        ({"shards": [{"name": "../000000.tar"}]}, "damaged"),
        ({"dataset": {}}, "damaged"),
        ({"more": 1}, "unknown key more"),
    ],
)
def test_a_damaged_index_is_refused(change: dict[str, Any], message: str) -> None:
    """What index.json may not hold ends in one line that names the file."""
    shard = Shard("000000.tar", 1024, "a" * 64, 1, "b" * 64, 9)
    content = json.loads(shards.encode_index(Index("rooms", _INFO, (shard,)))) | change

    with pytest.raises(DatasetError, match=message):
        shards.decode_index(json.dumps(content).encode(), "shards/index.json")


@pytest.mark.parametrize("name", ["../000000.tar", "a.tar", "/000000.tar", "000000.tar.gz"])
def test_no_shard_leaves_its_folder(name: str) -> None:
    """Names that are not numbers are refused, and so is a shard listed twice."""
    shard = Shard("000000.tar", 1024, "a" * 64, 1, "b" * 64, 9)

    for shards_, message in (((replace(shard, name=name),), "a shard is called"), ((shard, shard), "listed twice")):
        with pytest.raises(DatasetError, match=message):
            shards.decode_index(shards.encode_index(Index("rooms", _INFO, shards_)), "index.json")


@given(triples())
def test_a_damaged_index_of_a_shard_is_refused(triple: Triple) -> None:
    """A changed byte, a member beyond the end, another key or a missing member: each is named."""
    shard, _, lines = _packed(triple)

    def refused(change: dict[str, Any], message: str) -> None:
        data = storage.to_line(json.loads(lines) | change)
        entry = replace(shard, index_bytes=len(data), index_sha256=storage.sha256(data))
        with pytest.raises(DatasetError, match=message):
            shards.decode_samples(data, entry, "000000.index.jsonl")

    with pytest.raises(DatasetError, match="its hash differs"):
        shards.decode_samples(lines + b"\n", shard, "000000.index.jsonl")
    members = json.loads(lines)["members"]
    refused({"members": members | {"txt": [0, shard.bytes + 1]}}, "beyond the end of 000000.tar")
    refused({"members": {"jpg": [0, 1]}}, "the members are jpg; expected")
    refused({"key": "0" * 15 + "x"}, "but its record's is")
    refused({"record": {}}, "line 1 is damaged")
