"""The index of a dataset's lists: it finds every record, and never counts for lists that have changed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.dataset import index as indices
from segkit.dataset.index import Builder, Index

KEYS = st.lists(st.integers(0, 2**64 - 1).map("{:016x}".format), unique=True, max_size=20)


def build(folder: Path, manifest: list[str], left_out: list[str]) -> tuple[Index, bytes]:
    """Write two lists of a key a line, and build their index; the source of each record is its key and "s"."""
    lists = folder / "manifest", folder / "left-out"
    builders = Builder(), Builder()
    for builder, path, keys in zip(builders, lists, (manifest, left_out), strict=True):
        path.write_text("".join(f"{key}\n" for key in keys))
        for place, key in enumerate(keys):
            builder.add(key + "s", key, 17 * place)
    return indices.build(builders, lists, indices.states(lists), belong=True)


@given(KEYS, st.integers(0, 20))
def test_every_record_is_found(tmp_path_factory: pytest.TempPathFactory, keys: list[str], split: int) -> None:
    """By key, by the beginning of a key, and by source; its line is read, and it is known in which list it is."""
    manifest, left_out = sorted(keys[:split]), sorted(keys[split:])
    index, data = build(tmp_path_factory.mktemp("index"), manifest, left_out)

    assert index.is_tidy
    assert index.left_out() == set(left_out)
    assert index.counts == (len(manifest), len(left_out))
    for key in keys:
        (place,) = index.of_key(key)
        assert index.read([place]) == [f"{key}\n".encode()]
        assert index.is_left_out(place) == (key in left_out)
        assert index.keys_of_source(key + "s") == {key}
        assert index.keys_of_prefix(key[:5]) == {other for other in keys if other.startswith(key[:5])}
    assert index.of_key("0" * 15 + "1") == [] or "0" * 15 + "1" in keys
    assert len(data) == 8 * (10 + 5 * len(keys))


def test_repeated_and_unordered_records_are_untidy(tmp_path: Path) -> None:
    """Keys that appear twice are named; lists out of order are noticed."""
    first, second = "0" * 16, "f" * 16

    twice, _ = build(tmp_path, [first, second], [second])
    unordered, _ = build(tmp_path, [second, first], [])

    assert (twice.is_tidy, twice.repeated()) == (False, {second})
    assert (unordered.is_tidy, unordered.repeated()) == (False, set())


def test_it_counts_only_for_the_lists_it_was_built_from(tmp_path: Path) -> None:
    """A change of the same length a moment later, a cut or foreign file: the index is not loaded, and reads nothing."""
    index, data = build(tmp_path, ["0" * 16], [])
    lists, stored = (tmp_path / "manifest", tmp_path / "left-out"), tmp_path / "index"
    stored.write_bytes(data)
    loaded = indices.load(stored, lists)
    for damaged in (b"", data[:-8], data[:-1], b"\0" * len(data)):
        stored.write_bytes(damaged)
        assert indices.load(stored, lists) is None
    stored.write_bytes(data)
    lists[0].write_text("1" * 16 + "\n")

    assert loaded is not None
    assert loaded.of_key("0" * 16) == [0]
    assert indices.load(stored, lists) is None
    assert index.read([0]) is None
