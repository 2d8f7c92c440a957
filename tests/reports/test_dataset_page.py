"""The dataset page: self-contained, safe for any prompt, and reproducible."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from segkit.build import pipeline
from segkit.build.settings import BuildSettings
from segkit.dataset import Dataset
from segkit.reports import dataset_page
from tests.conftest import Segkit


@pytest.fixture(scope="module")
def built(six_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of six triples with its page. Read-only for tests."""
    folder = tmp_path_factory.mktemp("page") / "out"
    pipeline.build_dataset(six_photos, folder, BuildSettings(segmenter="toy", captioner="toy"))
    dataset_page.write(Dataset.open(folder))
    return folder


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Path:
    """A copy of the dataset."""
    return shutil.copytree(built, tmp_path / "out")


class Tags(HTMLParser):
    """Collects the elements and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record one element."""
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_is_self_contained(dataset: Path) -> None:
    """All three pictures of each of the six triples are embedded; there is no script and no link."""
    page = Tags()
    page.feed((dataset / ".segkit" / "report.html").read_text())

    assert len(page.addresses) == 18
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_a_prompt_with_markup_is_shown_as_text(segkit: Segkit, dataset: Path) -> None:
    """HTML and template syntax in a prompt appear literally and add no element to the page."""
    key = json.loads((dataset / "metadata.jsonl").read_text().splitlines()[0])["key"]

    segkit("caption", dataset, "--edit", key, "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}")

    text = (dataset / ".segkit" / "report.html").read_text()
    page = Tags()
    page.feed(text)
    assert "script" not in page.tags
    assert len(page.addresses) == 18
    assert "&lt;script&gt;alert(1)" in text
    assert "{{ 7 * 7 }}" in text


def test_the_page_is_reproducible(dataset: Path) -> None:
    """Writing the page again gives the same bytes."""
    before = (dataset / ".segkit" / "report.html").read_bytes()

    dataset_page.write(Dataset.open(dataset))

    assert (dataset / ".segkit" / "report.html").read_bytes() == before


def test_a_missing_picture_does_not_break_the_page(dataset: Path) -> None:
    """A triple whose photo is missing is listed with the error; the others are shown."""
    next((dataset / "images").rglob("*.jpg")).unlink()

    page = dataset_page.write(Dataset.open(dataset)).read_text()

    assert len(re.findall("<figure>", page)) == 6
    assert "No such file" in page


def test_the_page_is_titled_with_the_name_of_the_dataset(dataset: Path) -> None:
    """The browser's tab and the heading name the folder."""
    text = (dataset / ".segkit" / "report.html").read_text()

    assert "<title>out: segkit dataset</title>" in text
    assert "out: 6 triples" in text
