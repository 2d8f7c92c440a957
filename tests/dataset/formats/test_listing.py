"""Lists of other tools: their lines are JSON objects, and the names in them stay in the folder."""

from pathlib import Path

import pytest

from segkit.dataset.formats import listing
from segkit.dataset.formats.listing import leaves_folder
from segkit.errors import DatasetError


@pytest.mark.parametrize("name", ["/a.png", "\\a.png", "C:\\a.png", "c:a.png", "../a.png", "a/../../b.png", "a\\..\\b"])
def test_names_that_leave_the_folder_are_recognised(name: str) -> None:
    """POSIX and Windows paths alike, whatever system reads the list."""
    assert leaves_folder(name)
    assert not leaves_folder(f"x{name.replace('..', '_').replace(':', '_')}")


@pytest.mark.parametrize("name", ["", 7, None, "a\0b", "../a.png"])
def test_a_name_outside_the_folder_is_refused(tmp_path: Path, name: object) -> None:
    """The error states the line and the name; a name inside the folder becomes a path."""
    with pytest.raises(DatasetError, match=r"^list, line 3: .* does not name a file in this folder\. Expected"):
        listing.file_in(tmp_path, name, "list, line 3")
    assert listing.file_in(tmp_path, "a..b/c.png", "list, line 3") == tmp_path / "a..b" / "c.png"


def test_objects_are_numbered_by_line(tmp_path: Path) -> None:
    """Blank lines are counted and skipped; a missing list has no objects, and a broken line is refused."""
    path = tmp_path / "list.json"
    assert list(listing.json_objects(path)) == []
    path.write_text('\n{"a": 1}\n\n{"a": 2}\n')
    assert list(listing.json_objects(path)) == [(2, {"a": 1}), (4, {"a": 2})]

    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(
        DatasetError, match=r"list\.json: cannot be read\. Line 2: .*Expected one JSON object on each line"
    ):
        list(listing.json_objects(path))
