"""segkit.toml: TOML as people write it; every fault is named with its line and its cure."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit import toml


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xef\xbb\xbfsteps = 3\n", "line 1 begins with a byte-order mark; save the file as UTF-8 without"),
        ("steps = 3\n".encode("utf-16"), "line 1 is UTF-16; save the file as UTF-8 without byte-order mark"),
        ("steps = 3\n".encode("utf-16-le"), "line 1 is UTF-16; save"),
        ("steps = 3\n".encode("utf-16-be"), "line 1 is UTF-16; save"),
        (b'steps = 3\nbase = "caf\xe9"\n', "line 2 is not UTF-8; save the file as UTF-8"),
        (
            b'steps = 3\ndataset = "C:\\Users\\new"\n',
            'line 2 (dataset = "C:\\Users\\new"): invalid hex value; in double',
        ),
        (b'dataset = "\\\\server\\share"\n', "write paths in single quotes or with forward slashes"),
        (b'dataset = "..\\rooms\\photos"\n', "single quotes or with forward slashes"),
        (b"steps = 3\n\ndataset = rooms\n", "line 3 (dataset = rooms): invalid value"),
        (b"# steps\nsteps =", "line 2 (steps =): invalid value"),
        (b"steps = 3\nsteps = 4\n", "line 2 (steps = 4): cannot overwrite a value"),
        (b'base = """\nabc', "line 2 (abc): unterminated string"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, data: bytes, message: str) -> None:
    """Encodings, backslashes and plain mistakes, in one line that says what to do."""
    path = tmp_path / "a.toml"
    path.write_bytes(data)

    with pytest.raises(toml.TomlError) as refused:
        toml.read(path)

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("folder", ["new", "temp", "rooms", "back", "files"])
@pytest.mark.parametrize("start", ["C:\\", "data\\", "\\\\\\\\server\\"])
def test_a_backslash_that_was_read_as_an_escape_is_named(tmp_path: Path, folder: str, start: str) -> None:
    """TOML reads a line break, tab, return, backspace or form feed where a folder's name was meant."""
    path = tmp_path / "a.toml"
    path.write_text(f'steps = 3\ndataset = "{start}{folder}"\n')
    document = toml.read(path)

    with pytest.raises(toml.TomlError, match=rf"line 2: dataset contains the escape \\{folder[0]}; in double quotes"):
        document.require_paths(["output", "dataset"])


def test_other_paths_are_accepted(tmp_path: Path) -> None:
    """Single quotes, forward slashes, doubled backslashes, and a folder whose name really has a line break."""
    odd = tmp_path / "odd\nname"
    odd.mkdir()
    path = tmp_path / "a.toml"
    path.write_text(f'a = \'C:\\new\'\nb = "C:/new"\nc = "C:\\\\new"\nd = "{tmp_path}/odd\\nname"\n')

    document = toml.read(path)
    document.require_paths("abcde")

    assert document.values == {"a": "C:\\new", "b": "C:/new", "c": "C:\\new", "d": str(odd)}


@given(
    st.lists(st.sampled_from(["", "# a = 1", "  "]), max_size=5), st.sampled_from(["a = 1", '"a" = 1', "[a]", "a.b=1"])
)
def test_the_line_of_a_key_is_found(before: list[str], setting: str) -> None:
    """Comments, blank lines and other keys do not count; tables and quoted keys do."""
    text = "\n".join(["aa = 2", *before, setting, "b = 3"])

    assert toml.Document({}, text).line("a") == len(before) + 2
