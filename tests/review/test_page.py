"""The page in Chromium: what a person does with keys and pointer arrives in the dataset as exact class indices."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from segkit.dataset import Dataset
from segkit.review import areas
from segkit.review.assist import Assist
from segkit.review.session import Networks
from tests.conftest import NO_BROWSER, find_browser
from tests.review import rooms as data
from tests.review import serving
from tests.review.rooms import PALETTE
from tests.review.test_assist import Discs

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser without a window; tests are left out where there is none."""
    executable = find_browser()
    if executable is None:
        pytest.skip(NO_BROWSER)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--disable-extensions"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Open]:
    """Return a function that opens a dataset's page in a new tab, and fails the test after any error in the page."""
    faults: list[str] = []
    with ExitStack() as stack:

        def start(dataset: Dataset | str, **options: Any) -> Any:
            url = dataset if isinstance(dataset, str) else stack.enter_context(serving.served(dataset))
            context = chromium.new_context(viewport={"width": 1280, "height": 800}, **options)
            stack.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
            page.goto(url)
            page.wait_for_selector(".cell .pictures")
            page.set_default_timeout(20_000)
            return page

        yield start
    assert [
        fault for fault in faults if "409" not in fault and "422" not in fault and "ERR_CONNECTION" not in fault
    ] == []


def _until(page: Any, expression: str, arg: Any = None) -> None:
    """Wait until an expression holds; Playwright's own function would evaluate a string, which the page forbids."""
    for _ in range(600):
        if page.evaluate(expression, arg):
            return
        page.wait_for_timeout(30)
    raise AssertionError(f"{expression} never holds")


def _open_first(page: Any) -> str:
    """Open the first triple, and return its key."""
    page.keyboard.press("Enter")
    page.wait_for_selector("#single:not([hidden]) .legend li")
    _until(page, "location.hash.length === 17")
    return str(page.evaluate("location.hash.slice(1)"))


def _wait_until_saved(page: Any, undoable: bool = True) -> None:
    page.wait_for_selector(".status[data-status=saved]")
    if undoable:
        page.wait_for_selector("button:not([disabled]):has-text('Undo')")


def _choose(page: Any, name: str) -> None:
    page.keyboard.press("c")
    page.keyboard.type(name)
    page.keyboard.press("Enter")


def _screen(page: Any, dataset: Dataset, key: str) -> Callable[[float, float], tuple[float, float]]:
    """Return the function from places on the map to places on the screen."""
    box = page.locator(".canvas").bounding_box()
    triple = dataset.get([key])[0]
    scale = 0.98 * min(box["width"] / triple.width, box["height"] / triple.height)
    left = box["x"] + (box["width"] - scale * triple.width) / 2
    top = box["y"] + (box["height"] - scale * triple.height) / 2
    return lambda x, y: (left + x * scale, top + y * scale)


def _drag(page: Any, points: list[tuple[float, float]]) -> None:
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def test_a_region_is_relabelled_by_keyboard_alone(rooms: Dataset, open_page: Open) -> None:
    """Tab selects a region, a synonym finds the class, Enter stores it; undo works after a restart of the server."""
    page = open_page(rooms)
    key = _open_first(page)
    before = rooms.get([key])[0].labels
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    _choose(page, "swimming pool")
    _wait_until_saved(page)

    areas = [(index, ndimage.label(before == index)) for index in np.unique(before)]
    sizes = sorted(
        ((int((numbers == n).sum()), index, n) for index, (numbers, count) in areas for n in range(1, count + 1)),
        reverse=True,
    )
    expected = before.copy()
    expected[dict(areas)[sizes[1][1]][0] == sizes[1][2]] = PALETTE.find("swimming pool").index
    assert np.array_equal(rooms.get([key])[0].labels, expected)

    page = open_page(Dataset.open(rooms.folder))
    page.locator(f"[data-id='{key}']").dblclick()
    page.wait_for_selector("button:not([disabled]):has-text('Undo')")
    page.keyboard.press("Control+z")
    page.wait_for_selector("button:not([disabled]):has-text('Redo')")
    _wait_until_saved(page, undoable=False)
    assert np.array_equal(rooms.get([key])[0].labels, before)


def test_brush_and_polygon_set_exact_pixels(rooms: Dataset, open_page: Open) -> None:
    """A pixel is changed if its centre lies in the shape, to exactly the class; all others keep theirs."""
    page = open_page(rooms)
    key = _open_first(page)
    labels = rooms.get([key])[0].labels
    place = _screen(page, rooms, key)
    rows, columns = np.mgrid[: labels.shape[0], : labels.shape[1]] + 0.5

    _choose(page, "fountain")
    page.keyboard.press("p")
    for corner in ((20.3, 30.4), (90.2, 30.4), (90.2, 70.3), (20.3, 70.3)):
        page.mouse.click(*place(*corner))
    page.keyboard.press("Enter")
    _wait_until_saved(page)
    inside = (columns > 20.3) & (columns < 90.2) & (rows > 30.4) & (rows < 70.3)
    labels = np.where(inside, PALETTE.find("fountain").index, labels)
    assert np.array_equal(rooms.get([key])[0].labels, labels)

    _choose(page, "sconce")
    page.keyboard.press("b")
    _drag(page, [place(50, 50), place(120, 50)])
    _until(page, "document.querySelector('.legend').textContent.includes('sconce')")
    _wait_until_saved(page)
    painted = rooms.get([key])[0].labels
    distance = np.hypot(np.clip(columns, 50, 120) - columns, rows - 50)
    assert (painted[distance < 11.5] == PALETTE.find("sconce").index).all()
    assert np.array_equal(painted[distance > 12.6], labels[distance > 12.6])
    assert set(np.unique(painted)) <= {*np.unique(labels), PALETTE.find("sconce").index}


def test_fill_and_all_of_the_same_class(rooms: Dataset, open_page: Open) -> None:
    """A click fills one region with the current class; M extends a selection to every region of its class."""
    page = open_page(rooms)
    key = _open_first(page)
    before = rooms.get([key])[0].labels
    place = _screen(page, rooms, key)
    numbers, _ = ndimage.label(before == before[60, 80])
    expected = np.where(numbers == numbers[60, 80], PALETTE.find("fountain").index, before)
    _choose(page, "fountain")
    page.keyboard.press("f")
    page.mouse.click(*place(80.5, 60.5))
    _wait_until_saved(page)
    assert np.array_equal(rooms.get([key])[0].labels, expected)

    label = expected[5, 5]
    page.keyboard.press("r")
    page.mouse.click(*place(5.5, 5.5))
    page.keyboard.press("m")
    _choose(page, "sconce")
    _until(page, "document.querySelector('.legend').textContent.includes('sconce')")
    _wait_until_saved(page)
    expected[expected == label] = PALETTE.find("sconce").index
    assert np.array_equal(rooms.get([key])[0].labels, expected)


def test_the_page_reads_maps_and_regions_exactly(rooms: Dataset, open_page: Open) -> None:
    """Its PNG decoder agrees with Pillow, and its regions with SciPy, on a noisy map."""
    triple = rooms[0]
    noisy = np.where(np.random.default_rng(0).random(triple.labels.shape) < 0.3, 255, triple.labels).astype(np.uint8)
    page = open_page(rooms)
    program = """async ([key, noisy, width, height]) => {
        const { decode } = await import('/static/png.js');
        const { Regions } = await import('/static/regions.js');
        const map = await decode(await (await fetch(`/map/${key}`)).arrayBuffer());
        const regions = new Regions(Uint8Array.from(noisy), width, height);
        const sizes = regions.list().map((region) => [region.label, region.count, region.runs[0]]);
        const places = Array.from(noisy.keys(), (at) => at).filter((at) => at % 97 === 0);
        const spots = regions.list().every(({ spot, label }) => noisy[spot[1] * width + spot[0]] === label);
        return [Array.from(map.labels), sizes, places.map((at) => regions.at(at).runs[0]), spots];
    }"""
    height, width = noisy.shape
    labels, sizes, firsts, spots = page.evaluate(program, [triple.key, noisy.ravel().tolist(), width, height])

    expected = []
    numbered = np.zeros(noisy.size, np.int64)
    for label in np.unique(noisy):
        numbers, count = ndimage.label(noisy == label)
        flat = numbers.ravel()
        for number in range(1, count + 1):
            pixels = np.flatnonzero(flat == number)
            numbered[pixels] = pixels[0]
            expected.append([int(label), len(pixels), int(pixels[0])])
    assert labels == triple.labels.ravel().tolist()
    assert sorted(sizes) == sorted(expected)
    assert firsts == numbered[::97].tolist()
    assert spots


def test_a_prompt_is_edited_and_counted(rooms: Dataset, open_page: Open) -> None:
    """The length follows the typing, a class is clicked in, Enter stores; markup is text."""
    page = open_page(rooms)
    key = _open_first(page)
    page.keyboard.press("t")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("<img src=x onerror=alert(1)> " + "word " * 90)
    page.wait_for_selector(".tokens.long")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("<img src=x onerror=alert(1)>")
    page.wait_for_selector(".tokens:not(.long)")
    page.locator(".prompt .names button").first.click()
    page.keyboard.press("Enter")
    page.wait_for_selector(".writer:has-text('person')")
    _wait_until_saved(page, undoable=False)

    triple = rooms.get([key])[0]
    assert triple.text == f"<img src=x onerror=alert(1)>, {triple.classes[0].name}"
    assert triple.by_person
    assert re.search(rf"^{triple.tokens} of 77", page.locator(".tokens").inner_text())


def test_decisions_advance(rooms: Dataset, open_page: Open) -> None:
    """One key decides and shows the next triple; progress counts; the grid shows what was decided."""
    page = open_page(rooms)
    keys = [_open_first(page)]
    for decision in "ax":
        page.keyboard.press(decision)
        _until(page, "key => location.hash.length === 17 && !location.hash.endsWith(key)", arg=keys[-1])
        keys.append(page.evaluate("location.hash.slice(1)"))
    _until(page, "document.querySelector('.progress-text').textContent === '1 of 6 accepted, 1 left out'")
    page.keyboard.press("g")

    page.wait_for_selector(f"[data-id='{keys[0]}'] .review.accepted")
    assert [triple.review for triple in rooms.get(keys)] == ["accepted", "rejected", "open"]


@pytest.mark.parametrize("choice", ["mine", "theirs"])
def test_two_tabs_in_conflict_have_a_clear_choice(rooms: Dataset, open_page: Open, choice: str) -> None:
    """A prompt and a stroke that meet another person's change are stored on top, or dropped; nothing else is lost."""
    with serving.served(rooms) as url:
        one, other = open_page(url), open_page(url)
        key = _open_first(one)
        assert _open_first(other) == key
        for page, name in ((one, "fountain"), (other, "sconce")):
            page.keyboard.press("Tab")
            _choose(page, name)
        for page in (one, other):
            page.wait_for_selector("dialog[open], .status[data-status=saved]")
        second = next(page for page in (one, other) if page.locator("dialog[open]").count())
        second.locator(f"dialog button[value={choice}]").click()
        second.wait_for_selector(".status[data-status=saved]")
    edits = "sconce" if (choice == "mine") == (second is other) else "fountain"
    classes = {share.name for share in rooms.get([key])[0].classes}
    assert classes & {"sconce", "fountain"} == {edits}


def test_a_class_is_changed_in_all_selected(rooms: Dataset, open_page: Open) -> None:
    """Select all, choose two classes, look at the preview, apply, and take everything back with one click."""
    page = open_page(rooms)
    before = {triple.key: triple.labels for triple in rooms}
    page.keyboard.press("Control+a")
    page.locator("button:has-text('Change a class')").click()
    page.locator("dialog select").nth(0).select_option(label="wall")
    page.locator("dialog select").nth(1).select_option(label="fountain")
    _until(page, "/[1-6] of 6/.test(document.querySelector('.preview').textContent)")
    page.locator("dialog button.main").click()
    undo = page.locator(".message button:has-text('Undo')")
    undo.wait_for()

    wall, fountain = PALETTE.find("wall").index, PALETTE.find("fountain").index
    for key, labels in before.items():
        assert np.array_equal(rooms.get([key])[0].labels, np.where(labels == wall, fountain, labels))
    undo.click()
    page.wait_for_selector(".message:has-text('Undone')")
    assert all(np.array_equal(rooms.get([key])[0].labels, labels) for key, labels in before.items())


def test_two_thousand_triples_scroll(tmp_path: Path, open_page: Open) -> None:
    """Only what is in view exists in the page; the last triple comes into view."""
    page = open_page(data.many(tmp_path / "many", 2000))
    scroller = page.locator(".scroller")
    for part in (0.3, 0.7, 1.0):
        scroller.evaluate("(box, part) => box.scrollTo(0, part * box.scrollHeight)", part)
        _until(
            page, "document.querySelectorAll('.cell .pictures').length > 5 && !document.querySelector('.cell.loading')"
        )
        assert page.locator(".cell").count() < 60
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_selector(".source:has-text('2000 / 2000')")


def test_a_map_of_twelve_megapixels_is_edited(tmp_path: Path, open_page: Open) -> None:
    """A stroke of the brush on a map of 4000 x 3000 pixels is stored exactly."""
    large = data.large(tmp_path / "large", 4000, 3000)
    page = open_page(large)
    key = _open_first(page)
    before = large.get([key])[0].labels
    place = _screen(page, large, key)
    _choose(page, "fountain")
    page.keyboard.press("b")
    _drag(page, [place(500, 1500), place(3500, 1500)])
    _wait_until_saved(page)

    after = large.get([key])[0].labels
    rows, columns = np.nonzero(after != before)
    assert set(np.unique(after[rows, columns])) == {PALETTE.find("fountain").index}
    assert (rows.min() >= 1487, rows.max() <= 1513, columns.min() < 500, columns.max() > 3490) == (True,) * 4


def test_a_killed_server_is_noticed(rooms: Dataset, open_page: Open) -> None:
    """What was not acknowledged is shown as not saved; what was is in the dataset."""
    with serving.command(rooms.folder) as (process, url):
        page = open_page(url)
        key = _open_first(page)
        page.keyboard.press("Tab")
        _choose(page, "fountain")
        _wait_until_saved(page)
        process.kill()
        process.wait()
        page.keyboard.press("Tab")
        _choose(page, "sconce")
        page.wait_for_selector(".status[data-status=failed]")
        page.wait_for_selector(".message.error:has-text('not saved')")

    classes = {share.name for share in Dataset.open(rooms.folder).get([key])[0].classes}
    assert classes & {"sconce", "fountain"} == {"fountain"}


def test_an_impossible_edit_is_refused_and_taken_back(rooms: Dataset, open_page: Open) -> None:
    """A map without any class is refused with the reason, and the page shows the stored map again."""
    page = open_page(rooms)
    key = _open_first(page)
    before = rooms.get([key])[0].labels
    page.evaluate("document.querySelector('.canvas').focus()")
    page.keyboard.press("e")
    for _ in range(30):
        page.keyboard.press("]")
    place = _screen(page, rooms, key)
    _drag(page, [place(0, 0), place(160, 0), place(160, 120), place(0, 120), place(80, 60)])
    page.wait_for_selector(".message.error:has-text('no class')")
    page.wait_for_selector(".status[data-status=saved]")

    assert page.locator(".legend li").count() == len(np.unique(before))
    assert np.array_equal(rooms.get([key])[0].labels, before)


def test_undo_follows_a_stroke_at_once(rooms: Dataset, open_page: Open) -> None:
    """Keys that are faster than the server are carried out in their order."""
    page = open_page(rooms)
    key = _open_first(page)
    before = rooms.get([key])[0].labels
    page.keyboard.press("Tab")
    _choose(page, "fountain")
    page.keyboard.press("z")
    page.wait_for_selector("button:not([disabled]):has-text('Redo')")
    page.wait_for_selector(".status[data-status=saved]")

    assert np.array_equal(rooms.get([key])[0].labels, before)


def test_a_snapping_brush_fills_areas_of_the_photo(rooms: Dataset, open_page: Open) -> None:
    """A dab fills the area under it and those that it mostly covers, completely, and nothing else."""
    page = open_page(rooms)
    key = _open_first(page)
    triple = rooms.get([key])[0]
    before, numbers = triple.labels, areas.find(triple.photo)
    place = _screen(page, rooms, key)
    _choose(page, "fountain")
    page.keyboard.press("b")
    with page.expect_response("**/areas/*"):
        page.keyboard.press("s")
    page.wait_for_timeout(200)
    page.mouse.click(*place(60.5, 50.5))
    _wait_until_saved(page)

    rows, columns = np.mgrid[: before.shape[0], : before.shape[1]] + 0.5
    covered = np.hypot(columns - 60.5, rows - 50.5) <= 12
    sizes, parts = np.bincount(numbers.ravel()), np.bincount(numbers[covered])
    filled = {number for number, part in enumerate(parts) if part and part >= sizes[number] / 2} | {numbers[50, 60]}
    expected = np.where(np.isin(numbers, list(filled)), PALETTE.find("fountain").index, before)
    assert (rooms.get([key])[0].labels != expected).mean() < 0.002


def test_clicks_outline_a_thing(rooms: Dataset, open_page: Open) -> None:
    """Clicks inside and right-clicks outside reach the network as pixels of the photo; its mask gets the class."""
    with serving.served(rooms, Networks(Assist(Discs()))) as url:
        page = open_page(url)
        key = _open_first(page)
        before = rooms.get([key])[0].labels
        place = _screen(page, rooms, key)
        page.keyboard.press("q")
        page.mouse.click(*place(60.5, 50.5))
        page.wait_for_selector(".selected:has-text('Outlined')")
        page.mouse.click(*place(70.5, 50.5), button="right")
        _choose(page, "fountain")
        _wait_until_saved(page)

    inside = Discs().mask(None, (160, 120), [(60.5, 50.5, True), (70.5, 50.5, False)])
    expected = np.where(inside, PALETTE.find("fountain").index, before)
    assert np.array_equal(rooms.get([key])[0].labels, expected)


def test_touch_and_pen_paint(rooms: Dataset, open_page: Open) -> None:
    """A finger works like the mouse."""
    page = open_page(rooms, has_touch=True)
    key = _open_first(page)
    page.keyboard.press("f")
    _choose(page, "fountain")
    place = _screen(page, rooms, key)
    pixel = rooms.get([key])[0].labels.shape
    page.touchscreen.tap(*place(pixel[1] / 2 + 0.5, pixel[0] / 2 + 0.5))
    _wait_until_saved(page)

    labels = rooms.get([key])[0].labels
    assert labels[pixel[0] // 2, pixel[1] // 2] == PALETTE.find("fountain").index


def test_the_browser_is_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEGKIT_BROWSER comes first, and a wrong one is an error rather than a reason to skip."""
    monkeypatch.setenv("SEGKIT_BROWSER", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        find_browser()
    monkeypatch.setenv("SEGKIT_BROWSER", os.fspath(Path(shutil.which("sh") or "/bin/sh")))
    assert find_browser() == os.environ["SEGKIT_BROWSER"]
