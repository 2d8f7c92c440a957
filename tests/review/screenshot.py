"""Take docs/review.png, or any picture of the page, in Chromium.

segkit demo demo --photos 24
python -m tests.review.screenshot demo/dataset docs/review.png "room 002.jpg" person chair
"""

import argparse
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from segkit.dataset import Dataset, edits
from tests.conftest import find_browser
from tests.review.chromium import until
from tests.review.serving import served


def select(page: Any, name: str) -> None:
    """Select the first region of a class, by keys."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if name in page.locator(".chooser .selected").inner_text():
            return
    raise ValueError(f"the map has no {name}")


def main() -> None:
    """Open a triple, select a region of one class, and type another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("triple", help="key or source")
    parser.add_argument("old", help="class of the region")
    parser.add_argument("new", help="class that is typed")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    dataset = Dataset.open(options.dataset)
    with served(dataset) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": options.width, "height": options.height},
            color_scheme="dark" if options.dark else "light",
        )
        page.goto(f"{url}#{edits.find(dataset, options.triple)}")
        page.wait_for_selector("#single:not([hidden]) .legend li")
        until(page, "document.querySelector('.title').textContent !== ''")
        page.keyboard.press("n")
        select(page, options.old)
        page.keyboard.press("c")
        page.keyboard.type(options.new)
        page.wait_for_timeout(500)
        page.screenshot(path=options.output)
        browser.close()


if __name__ == "__main__":
    main()
