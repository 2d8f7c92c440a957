"""Fill50K's prompt.json is read as entries."""

import json
from pathlib import Path

import pytest

from segkit.dataset.formats import fill50k
from segkit.dataset.formats.listing import Entry
from segkit.errors import DatasetError


def test_the_layout_is_told_by_its_list(tmp_path: Path) -> None:
    """A folder without a prompt.json has another layout."""
    assert not fill50k.detect(tmp_path)
    (tmp_path / "prompt.json").touch()
    assert fill50k.detect(tmp_path)


def test_fill50k_lists_maps_photos_and_prompts(tmp_path: Path) -> None:
    """The source is the control map, the target the photo; blank lines are skipped."""
    path = tmp_path / "prompt.json"
    path.write_text('\n{"source": "s/0.png", "target": "t/0.png", "prompt": "a room"}\n')

    photo, control_map = tmp_path / "t" / "0.png", tmp_path / "s" / "0.png"
    assert fill50k.read(tmp_path).entries == (Entry(photo, control_map, "a room", f"{path}, line 2"),)


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ('{"source": "0.png", "target": "0.jpg", "prompt": "a\u2028room\u0085"}\n', ["a\u2028room\u0085"]),
        ('[{"source": "0.png", "target": "0.jpg",\n "prompt": "x"}]', ["x"]),
        ('\ufeff {"source": "0.png", "target": "0.jpg", "prompt": "x"}\r\n', ["x"]),
        ('{"source": "0.png", "target": "0.jpg", "caption": "x"}', ["x"]),
        ('{"source": "0.png", "target": "0.jpg"}', [""]),
        ("\n".join(json.dumps(line, indent=2) for line in [{"source": "0.png", "target": "0.jpg", "prompt": text}
                                                           for text in ("a", "b")]), ["a", "b"]),
    ],
    ids=["line separators", "array", "byte-order mark", "another key", "no prompt", "several lines"],
)  # fmt: skip
def test_unusual_lists_are_read(tmp_path: Path, text: str, prompts: list[str]) -> None:
    """Only a line feed ends a line; one JSON array will do; a missing prompt is an empty one."""
    (tmp_path / "prompt.json").write_text(text, "utf-8", newline="")
    assert [entry.text for entry in fill50k.read(tmp_path).entries] == prompts


def test_backslashes_of_windows_are_separators(tmp_path: Path) -> None:
    """Unless a file really has the backslash in its name."""
    for name in ("s/0.png", "t/0.png", "t\\1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    lines = [{"source": "s\\0.png", "target": f"t\\{number}.png", "prompt": "x"} for number in range(2)]
    (tmp_path / "prompt.json").write_text("".join(json.dumps(line) + "\n" for line in lines))

    entries = fill50k.read(tmp_path).entries

    assert [entry.photo for entry in entries] == [tmp_path / "t" / "0.png", tmp_path / "t\\1.png"]
    assert {entry.control_map for entry in entries} == {tmp_path / "s" / "0.png"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"source": "0.png", "prompt": ""}', r"line 1: expected source, target and prompt"),
        ('{"source": "0.png", "target": 7, "prompt": ""}', r"line 1: expected source, target and prompt"),
        ('{"source": "../0.png", "target": "0.jpg", "prompt": ""}', r"line 1: '\.\./0\.png' does not name a file"),
        ('{"source": "..\\\\0.png", "target": "0.jpg", "prompt": ""}', r"line 1: .* does not name a file"),
        ('{"source": "0.png", "target": "0.jpg", "prompt": ["a"]}', r"line 1: prompt is a list; expected text"),
        ('{"source": "0.png", "target": "0.jpg", "prompt": "\\ud800"}', r"Line 1: prompt holds half of a character"),
        ("[1]", r"prompt\.json: cannot be read\. Element 1: expected an object"),
        ("[{]", r"prompt\.json: cannot be read \("),
        ('{\n"source": "0.png",', r"it is JSON over several lines, not JSON Lines, and damaged: Expecting property"),
        ('{\n"items": []\n}', r"line 1: expected source, target and prompt"),
        ("1", r"prompt\.json: cannot be read\. Line 1: "),
    ],
)
def test_a_faulty_line_is_refused(tmp_path: Path, line: str, message: str) -> None:
    """A missing key, a value that is not text, an unsafe name and another structure are refused with the line."""
    (tmp_path / "prompt.json").write_text(line + "\n")

    with pytest.raises(DatasetError, match=message) as refused:
        fill50k.read(tmp_path)
    assert "\n" not in str(refused.value)
