"""Numbers, lists and commands in messages."""

import shlex
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from segkit import words
from segkit.settings import to_bytes


def test_a_number_agrees_with_its_noun() -> None:
    """One is singular, everything else plural, and thousands are separated."""
    assert [words.count(number, "map") for number in (0, 1, 2, 1200)] == ["0 maps", "1 map", "2 maps", "1,200 maps"]
    assert [words.count(number, "class") for number in (1, 2)] == ["1 class", "2 classes"]


def test_long_lists_say_how_many_more() -> None:
    """Up to the limit all names are listed; beyond it the rest is counted."""
    names = [str(number) for number in range(15)]

    assert words.listed(names[:3], 3) == "0, 1, 2"
    assert words.listed(names, 3) == "0, 1, 2 and 12 more"


def test_durations_have_two_units() -> None:
    """Seconds alone below a minute; above, the largest unit and the next smaller one."""
    seconds = (0.4, 59.4, 60, 117, 3600, 7500, 90_000, 1e8)
    texts = ["under 1 s", "59 s", "1 min 0 s", "1 min 57 s", "1 h 0 min", "2 h 5 min", "1 d 1 h", "1,157 d 9 h"]
    assert [words.duration(number) for number in seconds] == texts


def test_sizes_have_fitting_units() -> None:
    """Three digits, rounded up, and read back by the settings that take a size."""
    sizes = (0, 999, 1000, 100_000, 100_040, 999_999, 1_234_567, 5 * 10**10, 2 * 10**12)
    texts = ["0 B", "999 B", "1 kB", "100 kB", "101 kB", "1000 kB", "1.24 MB", "50 GB", "2 TB"]

    assert [words.data_size(number) for number in sizes] == texts
    assert all(to_bytes(text) >= number for text, number in zip(texts, sizes, strict=True))


def test_timestamps_are_in_utc() -> None:
    """ISO 8601 with milliseconds, whatever the time zone; Python reads it back."""
    moment = datetime(2026, 5, 4, 14, 3, 10, 250_000, timezone(timedelta(hours=2)))

    assert words.timestamp(moment) == "2026-05-04T12:03:10.250Z"
    assert datetime.fromisoformat(words.timestamp(moment)) == moment
    assert datetime.fromisoformat(words.timestamp()).tzinfo == UTC


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_quoted_path_is_one_word_of_a_shell(path: str) -> None:
    """Whatever a path contains, the shell reads the path."""
    assert shlex.split(words.quote(path)) == [path]
