"""The rules for records: what a pass over a stream of triples remembers of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit.dataset import record_rules
from segkit.dataset.record_rules import Intact, Screening
from segkit.dataset.triple import Triple, photo_name
from tests.dataset.test_dataset import build, render
from tests.reports.test_findings import triple


def screened(*triples: Triple) -> Screening:
    """Return what is remembered of some triples."""
    screening = Screening()
    for each in triples:
        screening.add(each)
    return screening


@pytest.mark.parametrize(
    ("name", "belongs"),
    [
        ("images/{shard}/{key}.png", True),
        ("maps/{shard}/{key}.png", True),
        ("images/{shard}/{key}.jpg", False),
        ("images/00/{key}.png", False),
        ("{key}.png", False),
        ("images/{shard}/{key}.png.bak", False),
        ("maps/{shard}/{shard}.png", False),
        ("images/" + "0x", False),
    ],
)
def test_files_of_triples_are_known(name: str, belongs: bool) -> None:
    """A photo in the recorded format and a map in their folders; no copy, no other place or ending."""
    key = "ab" * 8
    screening = screened(replace(triple(key), file_name=photo_name(key, ".png")))

    assert screening.has(name.format(key=key, shard=key[:2])) == belongs


def test_groups_in_several_splits_are_found_in_any_order() -> None:
    """The first photo of a group may come first, last or not at all; only those in several splits are looked at."""
    head, same, other = (triple(digit * 16) for digit in "123")
    same, other = replace(same, group=head.key), replace(other, group=head.key, split="val")
    alone = replace(triple("4" * 16), split="val")

    for order in ((head, same, other, alone), (other, same, head, alone), (same, other)):
        assert {problem.rule for problem in record_rules.leaks(order, screened(*order))} == {"split-leak"}
    assert list(record_rules.leaks((head, same, alone), screened(head, same, alone))) == []


def test_a_stream_without_repeats_is_read_once(tmp_path: Path) -> None:
    """Rules that compare triples read the records again only if there is something to compare."""
    dataset = build(render(tmp_path / "photos", 3), tmp_path / "out")
    passes = 0

    class Counted(Intact):
        def __iter__(self) -> Iterator[Triple]:
            nonlocal passes
            passes += 1
            return super().__iter__()

    intact = Counted(dataset)
    screening = screened(*intact)
    rules = (record_rules.repeated(dataset, intact, screening), record_rules.leaks(intact, screening))

    assert [list(problems) for problems in rules] == [[], []]
    assert (screening.total, passes) == (3, 1)
