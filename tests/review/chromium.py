"""What the tests of the page share: what a person does, by keys and pointer."""

from collections.abc import Callable
from typing import Any

from segkit.dataset import Dataset

Open = Callable[..., Any]
"""Opens the page of a dataset, or a URL, in a new tab; see the fixture open_page."""


def until(page: Any, expression: str, arg: Any = None) -> None:
    """Wait until an expression holds; Playwright's own function would evaluate a string, which the page forbids."""
    for _ in range(600):
        if page.evaluate(expression, arg):
            return
        page.wait_for_timeout(30)
    raise AssertionError(f"{expression} never holds")


def open_first(page: Any) -> str:
    """Open the first triple, and return its key."""
    page.keyboard.press("Enter")
    page.wait_for_selector("#single:not([hidden]) .legend li")
    until(page, "location.hash.length === 17")
    return str(page.evaluate("location.hash.slice(1)"))


def wait_until_saved(page: Any, undoable: bool = True) -> None:
    """Wait until the server has acknowledged every change, and an edit of the map can be undone."""
    page.wait_for_selector(".status[data-status=saved]")
    if undoable:
        page.wait_for_selector("button:not([disabled]):has-text('Undo')")


def choose(page: Any, name: str) -> None:
    """Type the name of a class: the selection gets it, or it becomes the current one."""
    page.keyboard.press("c")
    page.keyboard.type(name)
    page.keyboard.press("Enter")


def screen(page: Any, dataset: Dataset, key: str) -> Callable[[float, float], tuple[float, float]]:
    """Return the function from places on the map to places on the screen."""
    box = page.locator(".canvas").bounding_box()
    triple = dataset.get([key])[0]
    scale = 0.98 * min(box["width"] / triple.width, box["height"] / triple.height)
    left = box["x"] + (box["width"] - scale * triple.width) / 2
    top = box["y"] + (box["height"] - scale * triple.height) / 2
    return lambda x, y: (left + x * scale, top + y * scale)


def drag(page: Any, points: list[tuple[float, float]]) -> None:
    """Press the mouse, move it along points of the screen, and release it."""
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()
