"""segkit demo."""

from pathlib import Path

from tests.conftest import Segkit


def test_the_demo_runs_the_whole_way_twice(segkit: Segkit, tmp_path: Path) -> None:
    """It ends without a problem, says that its networks are untrained, and the second run makes nothing anew."""
    first = segkit("demo", tmp_path / "demo", "--photos", "4")
    second = segkit("demo", tmp_path / "demo", "--photos", "4")

    assert (first.code, second.code) == (0, 0)
    assert "untrained" in first.out
    assert (tmp_path / "demo" / "dataset" / ".segkit" / "report.html").is_file()
    assert "4 triples, no problem" in second.out
