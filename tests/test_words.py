"""Numbers, lists and commands in messages."""

import shlex

from hypothesis import given
from hypothesis import strategies as st

from segkit import words


def test_a_number_agrees_with_its_noun() -> None:
    """One is singular, everything else plural, and thousands are separated."""
    assert [words.count(number, "map") for number in (0, 1, 2, 1200)] == ["0 maps", "1 map", "2 maps", "1,200 maps"]
    assert [words.count(number, "class") for number in (1, 2)] == ["1 class", "2 classes"]


def test_long_lists_say_how_many_more() -> None:
    """Up to the limit all names are listed; beyond it the rest is counted."""
    names = [str(number) for number in range(15)]

    assert words.listed(names[:3], 3) == "0, 1, 2"
    assert words.listed(names, 3) == "0, 1, 2 and 12 more"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_quoted_path_is_one_word_of_a_shell(path: str) -> None:
    """Whatever a path contains, the shell reads the path."""
    assert shlex.split(words.quote(path)) == [path]
