"""Fill50K's prompt.json is read as entries."""

from pathlib import Path

import pytest

from segkit.dataset.formats import fill50k
from segkit.dataset.formats.listing import Entry
from segkit.errors import DatasetError


def test_a_folder_without_a_prompt_json_has_no_entries(tmp_path: Path) -> None:
    """The reader yields nothing where its file is missing."""
    assert list(fill50k.read(tmp_path)) == []


def test_fill50k_lists_maps_photos_and_prompts(tmp_path: Path) -> None:
    """The source is the control map, the target the photo; blank lines are skipped."""
    path = tmp_path / "prompt.json"
    path.write_text('\n{"source": "s/0.png", "target": "t/0.png", "prompt": "a room"}\n')

    photo, control_map = tmp_path / "t" / "0.png", tmp_path / "s" / "0.png"
    assert list(fill50k.read(tmp_path)) == [Entry(photo, control_map, "a room", f"{path}, line 2")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"source": "0.png", "target": "0.jpg"}', r"line 1: expected source, target and prompt"),
        ('{"source": "0.png", "target": 7, "prompt": ""}', r"line 1: expected source, target and prompt"),
        ('{"source": "../0.png", "target": "0.jpg", "prompt": ""}', r"line 1: '\.\./0\.png' does not name a file"),
        ("[1]", r"prompt\.json: cannot be read\. Line 1: "),
    ],
)
def test_a_faulty_line_is_refused(tmp_path: Path, line: str, message: str) -> None:
    """A missing key, a value that is not text, an unsafe name and another structure are refused with the line."""
    (tmp_path / "prompt.json").write_text(line + "\n")

    with pytest.raises(DatasetError, match=message):
        list(fill50k.read(tmp_path))
