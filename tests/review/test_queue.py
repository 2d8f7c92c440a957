"""The queue: all triples in the order in which a person goes through them."""

import re

import pytest

from segkit.dataset import Dataset, decisions, doubt
from segkit.dataset import where as conditions
from segkit.errors import UsageError
from segkit.problem import Problem
from segkit.review import queue
from tests.dataset.test_dataset import build, render


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Five triples: one accepted, one left out, one whose prompt is newer than the manifest."""
    folder = tmp_path_factory.mktemp("queue")
    made = build(render(folder / "photos", 5), folder / "out")
    first, second, third, *_ = made.triples()
    decisions.decide(made, first.key, "accepted")
    decisions.decide(made, second.key, "rejected")
    with made.writing():
        made.commit([third.edited(text="a lamp", tokens=4)])
    return made


def test_the_most_doubtful_come_first(dataset: Dataset) -> None:
    """Every triple once, as the newest record has it; items agree with what check says of them."""
    ranking = queue.rank(dataset)
    items = ranking[:]

    assert sorted(item.key for item in items) == sorted(triple.key for triple in dataset.triples())
    assert [item.doubt for item in items] == sorted((item.doubt for item in items), reverse=True)
    assert list(ranking.keys()) == [item.key for item in items] == [ranking[place].key for place in range(5)]
    assert ranking.counts == {"accepted": 1, "rejected": 1, "open": 3}
    lamp = next(item for item in items if item.text == "a lamp")
    assert any("lamp" in reason for reason in lamp.reasons)
    still_open = [item.key for item in items if item.review == "open"]
    assert [item.triple.key for item in doubt.of_dataset(dataset, 5)] == still_open


def test_the_queue_is_filtered_ordered_and_cut(dataset: Dataset) -> None:
    """By conditions, by source, to a number; counts are those of all that match."""
    by_source = queue.rank(dataset, order="source")
    still_open = queue.rank(dataset, where="review:open", order="source", limit=2)

    assert [item.source for item in by_source] == [f"00{number}.png" for number in range(5)]
    assert [item.source for item in still_open] == ["002.png", "003.png"]
    assert still_open.counts == {"open": 3}
    assert len(queue.rank(dataset, where="text:nothing")) == 0
    with pytest.raises(UsageError, match="not understood"):
        queue.rank(dataset, where="doubt")


def chosen(dataset: Dataset, where: str) -> set[str]:
    """Return the keys of the triples that meet conditions, each record read as a whole."""
    condition = conditions.parse(where, dataset.info.palette)
    return {triple.key for triple in dataset.triples() if condition(triple)}


@pytest.mark.parametrize(
    "text",
    [
        "class:wall", "-class:floor", "class:bed", "class:floor -class:lamp", "class:wall share>0.3",
        "class:wall -share>=0.3", "class:wall confidence<0.97", "text:LAMP", "-text:room class:floor", "text:'p a'",
    ],
)  # fmt: skip
def test_classes_and_words_are_found_without_reading_records(
    dataset: Dataset, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ranking knows them; with other conditions, the records that meet these are read."""
    more = f"{text} width>0"
    assert set(queue.rank(dataset, where=more).keys()) == chosen(dataset, more)
    monkeypatch.setattr(queue, "matching", None)
    assert set(queue.rank(dataset, where=text).keys()) == chosen(dataset, text)


def test_shares_with_more_digits_are_read_from_the_records(dataset: Dataset) -> None:
    """They are typed by somebody, and compared as they are."""
    data_before = dataset.manifest.read_bytes()
    match = re.search(rb'"share": (0\.[0-9]+)', data_before)
    assert match
    share = match[1]
    dataset.manifest.write_bytes(data_before.replace(share, share + b"00001"))
    name = Dataset.open(dataset.folder)[0].classes[0].name
    ranked = set(queue.rank(dataset, where=f"class:'{name}' share>{share.decode()}").keys())
    expected = chosen(dataset, f"class:'{name}' share>{share.decode()}")
    dataset.manifest.write_bytes(data_before)

    assert ranked == expected != chosen(dataset, f"class:'{name}' share>{share.decode()}")


def test_what_check_found_comes_first(dataset: Dataset) -> None:
    """An error outweighs low confidence."""
    last = queue.rank(dataset)[-1].key

    ranking = queue.rank(dataset, problems=[Problem("file-changed", "error", last, "")])

    assert ranking[0].key == last
    assert "file-changed" in ranking[0].reasons


def test_what_check_found_is_a_flag(dataset: Dataset) -> None:
    """Of one rule or of any, together with other conditions; near-duplicates have a flag of their own."""
    first, _, third, *_ = dataset.triples()
    found = [
        Problem("file-changed", "error", first.key, ""), Problem("coverage-low", "warning", third.key, ""),
        Problem("orphan", "error", "maps/stray.png", ""),
    ]  # fmt: skip

    def keys(where: str) -> set[str]:
        return set(queue.rank(dataset, where=where, problems=found).keys())

    assert keys("flag:check") == {first.key, third.key}
    assert keys("flag:file-changed") == {first.key}
    assert keys("flag:check review:open") == {third.key}
    assert keys("flag:near-duplicate") == set()
    assert len(keys("-flag:near-duplicate")) == 5
    assert queue.rank(dataset, where="flag:check", problems=found).counts == {"open": 1, "accepted": 1}
    with pytest.raises(UsageError, match="Close the quotation"):
        keys("flag:check text:'a")


def test_marks_of_an_editor_are_read_over(dataset: Dataset) -> None:
    """A byte-order mark and blank lines in the manifest."""
    data = dataset.manifest.read_bytes()
    dataset.manifest.write_bytes(b"\xef\xbb\xbf" + data.replace(b"\n", b"\n\n"))

    keys = list(queue.rank(Dataset.open(dataset.folder)).keys())
    dataset.manifest.write_bytes(data)

    assert keys == list(queue.rank(dataset).keys())
