"""Maps corrected in Chromium: keys and pointer arrive in the dataset as exact class indices."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from segkit.dataset import Dataset
from segkit.review import areas
from segkit.review.assist import Assist
from segkit.review.session import Networks
from tests.review import chromium, serving
from tests.review import rooms as data
from tests.review.chromium import Open
from tests.review.rooms import PALETTE
from tests.review.test_assist import Discs


def test_a_region_is_relabelled_by_keyboard_alone(rooms: Dataset, open_page: Open) -> None:
    """Tab selects a region, a synonym finds the class, Enter stores it; Tab goes on; undo works after a restart."""
    page = open_page(rooms)
    key = chromium.open_first(page)
    before = rooms.get([key])[0].labels
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    chromium.choose(page, "swimming pool")
    page.keyboard.press("Tab")
    chromium.choose(page, "fountain")
    chromium.wait_until_saved(page)

    areas = [(index, ndimage.label(before == index)) for index in np.unique(before)]
    sizes = sorted(
        ((int((numbers == n).sum()), index, n) for index, (numbers, count) in areas for n in range(1, count + 1)),
        reverse=True,
    )
    expected = before.copy()
    for (_, index, n), name in zip(sizes[1:3], ("swimming pool", "fountain"), strict=True):
        expected[dict(areas)[index][0] == n] = PALETTE.find(name).index
    assert np.array_equal(rooms.get([key])[0].labels, expected)

    page = open_page(Dataset.open(rooms.folder))
    page.locator(f"[data-id='{key}']").dblclick()
    page.wait_for_selector("button:not([disabled]):has-text('Undo')")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.wait_for_selector("button:disabled:has-text('Undo')")
    chromium.wait_until_saved(page, undoable=False)
    assert np.array_equal(rooms.get([key])[0].labels, before)


def test_brush_and_polygon_set_exact_pixels(rooms: Dataset, open_page: Open) -> None:
    """A pixel is changed if its centre lies in the shape, to exactly the class; all others keep theirs."""
    page = open_page(rooms)
    key = chromium.open_first(page)
    labels = rooms.get([key])[0].labels
    place = chromium.screen(page, rooms, key)
    rows, columns = np.mgrid[: labels.shape[0], : labels.shape[1]] + 0.5

    chromium.choose(page, "fountain")
    page.keyboard.press("p")
    for corner in ((20.3, 30.4), (90.2, 30.4), (90.2, 70.3), (20.3, 70.3)):
        page.mouse.click(*place(*corner))
    page.keyboard.press("Enter")
    chromium.wait_until_saved(page)
    inside = (columns > 20.3) & (columns < 90.2) & (rows > 30.4) & (rows < 70.3)
    labels = np.where(inside, PALETTE.find("fountain").index, labels)
    assert np.array_equal(rooms.get([key])[0].labels, labels)

    chromium.choose(page, "sconce")
    page.keyboard.press("b")
    chromium.drag(page, [place(50, 50), place(120, 50)])
    chromium.until(page, "document.querySelector('.legend').textContent.includes('sconce')")
    chromium.wait_until_saved(page)
    painted = rooms.get([key])[0].labels
    distance = np.hypot(np.clip(columns, 50, 120) - columns, rows - 50)
    assert (painted[distance < 11.5] == PALETTE.find("sconce").index).all()
    assert np.array_equal(painted[distance > 12.6], labels[distance > 12.6])
    assert set(np.unique(painted)) <= {*np.unique(labels), PALETTE.find("sconce").index}


def test_fill_and_all_of_the_same_class(rooms: Dataset, open_page: Open) -> None:
    """A click fills one region with the current class; M extends a selection to every region of its class."""
    page = open_page(rooms)
    key = chromium.open_first(page)
    before = rooms.get([key])[0].labels
    place = chromium.screen(page, rooms, key)
    numbers, _ = ndimage.label(before == before[60, 80])
    expected = np.where(numbers == numbers[60, 80], PALETTE.find("fountain").index, before)
    chromium.choose(page, "fountain")
    page.keyboard.press("f")
    page.mouse.click(*place(80.5, 60.5))
    chromium.wait_until_saved(page)
    assert np.array_equal(rooms.get([key])[0].labels, expected)

    label = expected[5, 5]
    page.keyboard.press("r")
    page.mouse.click(*place(5.5, 5.5))
    page.keyboard.press("m")
    chromium.choose(page, "sconce")
    chromium.until(page, "document.querySelector('.legend').textContent.includes('sconce')")
    chromium.wait_until_saved(page)
    expected[expected == label] = PALETTE.find("sconce").index
    assert np.array_equal(rooms.get([key])[0].labels, expected)


def test_an_outline_that_leaves_a_row_goes_on_in_the_next(rooms: Dataset, open_page: Open) -> None:
    """A network's mask comes as runs that are longer than a row; with a region added, no pixel counts twice."""
    page = open_page(rooms)
    program = "async () => { const { joined } = await import('/static/labelling.js');"
    program += "return joined({ runs: [2, 5, 20, 1] }, { label: 3, runs: [0, 4, 2, 2, 6, 3] }) }"
    assert page.evaluate(program) == {"label": 3, "runs": [0, 4, 4, 3, 7, 2, 20, 1], "count": 10}
    program = "async () => [...(await import('/static/viewer.js')).spansByRow([2, 5, 12, 10, 28, 2], 10)]"
    assert page.evaluate(program) == [[0, [[2, 7]]], [1, [[2, 10]]], [2, [[0, 2], [8, 10]]]]


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


def test_a_map_of_twelve_megapixels_is_edited(tmp_path: Path, open_page: Open) -> None:
    """A stroke of the brush on a map of 4000 x 3000 pixels is stored exactly."""
    large = data.large(tmp_path / "large", 4000, 3000)
    page = open_page(large)
    key = chromium.open_first(page)
    before = large.get([key])[0].labels
    place = chromium.screen(page, large, key)
    chromium.choose(page, "fountain")
    page.keyboard.press("b")
    chromium.drag(page, [place(500, 1500), place(3500, 1500)])
    chromium.wait_until_saved(page)

    after = large.get([key])[0].labels
    rows, columns = np.nonzero(after != before)
    assert set(np.unique(after[rows, columns])) == {PALETTE.find("fountain").index}
    assert (rows.min() >= 1487, rows.max() <= 1513, columns.min() < 500, columns.max() > 3490) == (True,) * 4


def test_an_impossible_edit_is_refused_and_taken_back(rooms: Dataset, open_page: Open) -> None:
    """A map without any class is refused with the reason, and the page shows the stored map again."""
    page = open_page(rooms)
    key = chromium.open_first(page)
    before = rooms.get([key])[0].labels
    page.evaluate("document.querySelector('.canvas').focus()")
    page.keyboard.press("e")
    for _ in range(30):
        page.keyboard.press("]")
    place = chromium.screen(page, rooms, key)
    chromium.drag(page, [place(0, 0), place(160, 0), place(160, 120), place(0, 120), place(80, 60)])
    page.wait_for_selector(".message.error:has-text('no class')")
    page.wait_for_selector(".status[data-status=saved]")

    assert page.locator(".legend li").count() == len(np.unique(before))
    assert np.array_equal(rooms.get([key])[0].labels, before)


def test_undo_follows_a_stroke_at_once(rooms: Dataset, open_page: Open) -> None:
    """Keys that are faster than the server are carried out in their order."""
    page = open_page(rooms)
    key = chromium.open_first(page)
    before = rooms.get([key])[0].labels
    page.keyboard.press("Tab")
    chromium.choose(page, "fountain")
    page.keyboard.press("z")
    page.wait_for_selector("button:not([disabled]):has-text('Redo')")
    page.wait_for_selector(".status[data-status=saved]")

    assert np.array_equal(rooms.get([key])[0].labels, before)


def test_a_snapping_brush_fills_areas_of_the_photo(rooms: Dataset, open_page: Open) -> None:
    """A dab fills the area under it and those that it mostly covers, completely, and nothing else."""
    page = open_page(rooms)
    key = chromium.open_first(page)
    triple = rooms.get([key])[0]
    before, numbers = triple.labels, areas.find(triple.photo)
    place = chromium.screen(page, rooms, key)
    chromium.choose(page, "fountain")
    page.keyboard.press("b")
    with page.expect_response("**/areas/*"):
        page.keyboard.press("s")
    page.wait_for_timeout(200)
    page.mouse.click(*place(60.5, 50.5))
    chromium.wait_until_saved(page)

    rows, columns = np.mgrid[: before.shape[0], : before.shape[1]] + 0.5
    covered = np.hypot(columns - 60.5, rows - 50.5) <= 12
    sizes, parts = np.bincount(numbers.ravel()), np.bincount(numbers[covered])
    filled = {number for number, part in enumerate(parts) if part and part >= sizes[number] / 2} | {numbers[50, 60]}
    expected = np.where(np.isin(numbers, list(filled)), PALETTE.find("fountain").index, before)
    assert (rooms.get([key])[0].labels != expected).mean() < 0.002


def test_clicks_outline_a_thing(rooms: Dataset, open_page: Open) -> None:
    """Clicks inside and right-clicks outside reach the network as pixels of the photo; its mask gets the class.

    A class that is chosen while an outline is on its way waits for it.
    """
    with serving.served(rooms, Networks(Assist(Discs()))) as url:
        page = open_page(url)
        key = chromium.open_first(page)
        before = rooms.get([key])[0].labels
        place = chromium.screen(page, rooms, key)
        page.keyboard.press("q")
        page.mouse.click(*place(60.5, 50.5))
        page.wait_for_selector(".selected:has-text('Outlined')")
        page.route("**/api/assist", lambda route: (page.wait_for_timeout(300), route.continue_()))
        page.mouse.click(*place(70.5, 50.5), button="right")
        chromium.choose(page, "fountain")  # before the outline has come
        chromium.wait_until_saved(page)

    inside = Discs().mask(None, (160, 120), [(60.5, 50.5, True), (70.5, 50.5, False)])
    expected = np.where(inside, PALETTE.find("fountain").index, before)
    assert np.array_equal(rooms.get([key])[0].labels, expected)


def test_touch_and_pen_paint(rooms: Dataset, open_page: Open) -> None:
    """A finger works like the mouse."""
    page = open_page(rooms, has_touch=True)
    key = chromium.open_first(page)
    page.keyboard.press("f")
    chromium.choose(page, "fountain")
    place = chromium.screen(page, rooms, key)
    pixel = rooms.get([key])[0].labels.shape
    page.touchscreen.tap(*place(pixel[1] / 2 + 0.5, pixel[0] / 2 + 0.5))
    chromium.wait_until_saved(page)

    labels = rooms.get([key])[0].labels
    assert labels[pixel[0] // 2, pixel[1] // 2] == PALETTE.find("fountain").index


def test_a_class_shown_alone_stays_readable(rooms: Dataset, open_page: Open) -> None:
    """Its row in the legend has the background that its text is made for, under the cursor and beside it, dark too."""
    page = open_page(rooms)
    chromium.open_first(page)
    row = page.locator(".legend button").first
    row.click()
    page.wait_for_selector(".legend button[aria-pressed=true]")
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        for pointer in (row.hover, page.locator(".title .source").hover):
            pointer()
            assert row.evaluate(_CONTRAST) >= 4.5


_CONTRAST = """row => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((c) => {
      const value = Number(c) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let behind = row;
  while (/rgba\\(.*, 0\\)/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
  const [text, back] = [light(getComputedStyle(row).color), light(getComputedStyle(behind).backgroundColor)];
  const [a, b] = [Math.max(text, back), Math.min(text, back)];
  return (a + 0.05) / (b + 0.05);
}"""
"""WCAG's contrast of an element's text and what is behind it."""


def test_a_stored_confidence_is_shown(rooms: Dataset, open_page: Open) -> None:
    """At the cursor, and as a heat map: the unsure half is dark; what a person painted is sure at once."""
    for triple in rooms:
        data.unsure(rooms, triple.key)
    page = open_page(rooms)
    key = chromium.open_first(page)
    width, height = rooms.get([key])[0].width, rooms.get([key])[0].height
    place = chromium.screen(page, rooms, key)
    shown = page.locator(".place")
    page.mouse.move(*place(20.5, height / 2 + 8))
    chromium.until(page, "document.querySelector('.place').textContent.endsWith('  confidence 1.00')")
    page.mouse.move(*place(20.5, 8.5))
    chromium.until(page, "document.querySelector('.place').textContent.includes('confidence 0.1')")
    assert shown.inner_text().split("  ")[0] in {share.name for share in rooms.get([key])[0].classes}

    page.keyboard.press("y")
    page.keyboard.press(".")
    for _ in range(5):
        page.keyboard.press(".")
    colors = """([x, y]) => [...document.querySelector('.canvas').getContext('2d').getImageData(x, y, 1, 1).data]"""
    box = page.locator(".canvas").bounding_box()

    def color(x: float, y: float) -> list[int]:
        left, top = place(x, y)
        return list(page.evaluate(colors, [round(left - box["x"]), round(top - box["y"])]))

    page.wait_for_timeout(100)
    dark, light = color(width / 2, height / 4), color(width / 2, 3 * height / 4)
    assert (sum(dark[:3]) < 200, sum(light[:3]) > 400) == (True, True)

    chromium.choose(page, "fountain")
    page.keyboard.press("f")
    page.mouse.click(*place(20.5, 8.5))
    chromium.wait_until_saved(page)
    page.mouse.move(*place(21.5, 8.5))
    chromium.until(page, "document.querySelector('.place').textContent === 'fountain  confidence 1.00'")
