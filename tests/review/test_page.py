"""The page in Chromium: prompts, decisions, conflicts, many triples."""

import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset, classes
from segkit.review import messages
from segkit.review.findings import Findings
from tests.conftest import find_browser
from tests.review import chromium, serving
from tests.review import rooms as data
from tests.review.chromium import Open
from tests.review.rooms import PALETTE


def test_a_prompt_is_edited_and_counted(rooms: Dataset, open_page: Open) -> None:
    """The length follows the typing, a class is clicked in, Enter stores; markup is text."""
    page = open_page(rooms)
    key = chromium.open_first(page)
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
    chromium.wait_until_saved(page, undoable=False)

    triple = rooms.get([key])[0]
    assert triple.text == f"<img src=x onerror=alert(1)>, {triple.classes[0].name}"
    assert triple.by_person
    assert re.search(rf"^{triple.tokens} of 77", page.locator(".tokens").inner_text())


def test_decisions_advance(rooms: Dataset, open_page: Open) -> None:
    """One key decides and shows the next triple; progress counts; the grid shows what was decided."""
    page = open_page(rooms)
    keys = [chromium.open_first(page)]
    for decision in "ax":
        page.keyboard.press(decision)
        chromium.until(page, "key => location.hash.length === 17 && !location.hash.endsWith(key)", arg=keys[-1])
        keys.append(page.evaluate("location.hash.slice(1)"))
    chromium.until(page, "document.querySelector('.progress-text').textContent === '1 of 6 accepted, 1 left out'")
    page.keyboard.press("g")

    page.wait_for_selector(f"[data-id='{keys[0]}'] .review.accepted")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(f".cell.cursor.marked[data-id='{keys[2]}']")
    page.keyboard.press("x")
    page.wait_for_selector(f"[data-id='{keys[2]}'] .review.rejected")
    page.wait_for_selector(f".message:has-text('{rooms.get([keys[2]])[0].source}: left out.') button:has-text('Undo')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".title .review.rejected")
    page.keyboard.press("o")
    page.wait_for_selector(".title .review.open")
    page.wait_for_selector(".status[data-status=saved]")
    assert [triple.review for triple in rooms.get(keys)] == ["accepted", "rejected", "open"]


def test_letters_decide_on_nothing_that_nobody_chose(rooms: Dataset, open_page: Open) -> None:
    """Escape never leaves a triple; back in the grid, a typed word decides on no photo, and a message says why."""
    page = open_page(rooms)
    chromium.open_first(page)
    page.keyboard.press("b")
    for _ in range(3):
        page.keyboard.press("Escape")
    assert page.locator("#single").is_visible()
    page.wait_for_selector("button[data-tool=region][aria-pressed=true]")
    page.set_viewport_size({"width": 800, "height": 600})
    page.keyboard.press("?")
    assert page.locator("dialog .keys").count() == 2
    assert page.evaluate("document.querySelector('dialog').scrollTop") == 0
    assert {"brush", "select all"} <= set(page.locator("dialog dd").all_inner_texts())
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.type("box a")
    page.wait_for_selector(".message:has-text('First choose a triple')")
    assert page.locator(".cell[aria-selected=true]").count() == 0
    assert {triple.review for triple in Dataset.open(rooms.folder)} == {"open"}


def test_what_is_typed_is_not_called_saved(rooms: Dataset, open_page: Open) -> None:
    """After Escape, the status says that the prompt is not stored; going on stores it, and says so."""
    page = open_page(rooms)
    key = chromium.open_first(page)
    page.keyboard.press("t")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("a quiet room")
    page.keyboard.press("Escape")
    page.wait_for_selector(".status[data-status=typed]:has-text('not saved')")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".message:has-text('a quiet room')")
    chromium.until(page, "key => location.hash.length === 17 && !location.hash.endsWith(key)", arg=key)
    page.keyboard.press("ArrowLeft")
    chromium.until(page, "document.querySelector('.prompt textarea').value === 'a quiet room'")
    chromium.wait_until_saved(page, undoable=False)
    assert Dataset.open(rooms.folder).get([key])[0].text == "a quiet room"


@pytest.mark.parametrize("where", ["class:bicylce", "class:chair confidence<<3", "foo:bar", "review:opne"])
def test_a_wrong_filter_shows_nothing_but_the_error(rooms: Dataset, open_page: Open, where: str) -> None:
    """No earlier result stays below other conditions; the error is in their place, and goes with a correction."""
    page = open_page(rooms, expected="400")
    page.locator("header input").fill(where)
    page.keyboard.press("Enter")
    page.wait_for_selector(".empty.error")
    assert where.split()[-1].split(":")[-1] in page.locator(".empty").inner_text() or "foo" in where
    assert page.locator(".cell, .message.error").count() == 0
    assert page.locator("button:has-text('Accept what is visible')").is_disabled()
    page.locator("header input").fill("review:open")
    page.keyboard.press("Enter")
    chromium.until(page, "document.querySelectorAll('.cell').length === 6")
    assert page.locator(".empty, [aria-invalid=true]").locator("visible=true").count() == 0


@pytest.mark.parametrize("choice", ["mine", "theirs"])
def test_two_tabs_in_conflict_have_a_clear_choice(rooms: Dataset, open_page: Open, choice: str) -> None:
    """A prompt and a stroke that meet another person's change are stored on top, or dropped; nothing else is lost."""
    with serving.served(rooms) as url:
        one, other = open_page(url), open_page(url)
        key = chromium.open_first(one)
        assert chromium.open_first(other) == key
        for page, name in ((one, "fountain"), (other, "sconce")):
            page.keyboard.press("Tab")
            chromium.choose(page, name)
        for page in (one, other):
            page.wait_for_selector("dialog[open], .status[data-status=saved]")
        second = next(page for page in (one, other) if page.locator("dialog[open]").count())
        second.locator(f"dialog button[value={choice}]").click()
        second.wait_for_selector(".status[data-status=saved]")
    edits = "sconce" if (choice == "mine") == (second is other) else "fountain"
    classes = {share.name for share in rooms.get([key])[0].classes}
    assert classes & {"sconce", "fountain"} == {edits}


def test_a_class_is_changed_in_all_selected(rooms: Dataset, open_page: Open) -> None:
    """The most frequent class is proposed, or the filter's; choose another, apply, and undo all with one click."""
    page = open_page(rooms)
    before = {triple.key: triple.labels for triple in rooms}
    wall, fountain = PALETTE.find("wall").index, PALETTE.find("fountain").index
    counts = Counter(label for labels in before.values() for label in np.unique(labels).tolist())
    for tick in page.locator(".cell .tick").all():
        tick.click()
    page.wait_for_selector(f".bulk strong:has-text('{len(before)} selected')")
    page.locator("button:has-text('Change a class')").click()
    old, new = (page.locator("dialog select").nth(number) for number in range(2))
    page.wait_for_selector("dialog[open]")
    assert counts[int(old.input_value())] == max(counts.values())
    assert {int(option.get_attribute("value")) for option in old.locator("option").all()} == set(counts)
    assert page.locator("dialog button.main").is_disabled()
    page.keyboard.press("Escape")
    page.locator("header input").fill("class:wall")
    page.keyboard.press("Enter")
    chromium.until(page, f"document.querySelectorAll('.cell').length === {counts[wall]}")
    page.keyboard.press("Control+a")
    page.locator("button:has-text('Change a class')").click()
    assert old.input_value() == str(wall)
    new.select_option(label="fountain")
    assert page.locator(".preview").inner_text().startswith(f"{counts[wall]} of {counts[wall]} triples")
    page.locator("dialog button.main").click()
    undo = page.locator(".message button:has-text('Undo')")
    undo.wait_for()

    for key, labels in before.items():
        assert np.array_equal(rooms.get([key])[0].labels, np.where(labels == wall, fountain, labels))
    undo.click()
    page.wait_for_selector(".message:has-text('Undone')")
    assert all(np.array_equal(rooms.get([key])[0].labels, labels) for key, labels in before.items())


def test_what_check_found_is_shown(rooms: Dataset, open_page: Open) -> None:
    """A badge names it, near-duplicates have one, too; a click shows only these triples, and a repaired one no more."""
    first, second, *_ = rooms
    photo = rooms.folder / first.file_name
    data_before = photo.read_bytes()
    photo.write_bytes(data_before + b"\0")
    with rooms.writing():
        rooms.commit([replace(second, group=first.key)])
        rooms.fold()
    with serving.served(rooms, findings=Findings(rooms)) as url:
        page = open_page(url)
        page.locator(".message:has-text('Check found') button:has-text('Show')").click()
        page.wait_for_selector(".cell .badge.warning:has-text('prompt-missing')")
        page.locator("header input").fill("flag:file-changed")
        page.keyboard.press("Enter")
        chromium.until(page, "document.querySelectorAll('.cell').length === 1")
        assert page.locator(".cell .badge.error").inner_text() == "file-changed"
        assert page.locator(".cell").get_attribute("data-id") == first.key
        photo.write_bytes(data_before)
        page.locator("button:has-text('Rank again')").click()
        page.wait_for_selector(".empty:not([hidden])")

        page.locator("header input").fill("")
        page.locator(".filters select").first.select_option(label="near-duplicates")
        page.wait_for_selector(f"[data-id='{second.key}'] .badge:has-text('near-duplicate')")
        assert page.locator(".cell").count() == 1
        page.keyboard.press("Escape")
        page.locator(".cell").dblclick()
        page.wait_for_selector("#single .badge:has-text('near-duplicate')")


def test_a_class_that_is_added_meanwhile_appears(rooms: Dataset, open_page: Open) -> None:
    """Without a restart, when the window is looked at again or the next triple is opened; it can be painted at once."""
    page = open_page(rooms)
    key = chromium.open_first(page)
    classes.add_classes(Dataset.open(rooms.folder), ["solar panel"])
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".message:has-text('A class was added')")
    page.keyboard.press("ArrowLeft")
    chromium.until(page, "key => location.hash.endsWith(key)", key)
    page.keyboard.press("Tab")
    chromium.choose(page, "solar")
    chromium.wait_until_saved(page)
    assert "solar panel" in {share.name for share in Dataset.open(rooms.folder).get([key])[0].classes}

    classes.add_classes(Dataset.open(rooms.folder), ["wind turbine"])
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    page.wait_for_selector(".message:has-text('A class was added')")
    page.keyboard.press("c")
    page.keyboard.type("wind tur")
    page.wait_for_selector("#class-list li:has-text('wind turbine')")


def test_two_thousand_triples_scroll(tmp_path: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is in view exists in the page; the last triple comes into view; as many as allowed are selected."""
    monkeypatch.setattr(messages, "MAX_KEYS", 1500)
    page = open_page(data.many(tmp_path / "many", 2000))
    scroller = page.locator(".scroller")
    for part in (0.3, 0.7, 1.0):
        scroller.evaluate("(box, part) => box.scrollTo(0, part * box.scrollHeight)", part)
        chromium.until(
            page, "document.querySelectorAll('.cell .pictures').length > 5 && !document.querySelector('.cell.loading')"
        )
        assert page.locator(".cell").count() < 60
    page.keyboard.press("Control+a")
    page.wait_for_selector(".message:has-text('At most 1,500 triples')")
    assert page.locator(".bulk strong").inner_text() == "1,500 selected"
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_selector(".source:has-text('2000 / 2000')")


def test_a_killed_server_is_noticed(rooms: Dataset, open_page: Open) -> None:
    """What was not acknowledged is shown as not saved; what was is in the dataset."""
    with serving.command(rooms.folder) as (process, url):
        page = open_page(url)
        key = chromium.open_first(page)
        page.keyboard.press("Tab")
        chromium.choose(page, "fountain")
        chromium.wait_until_saved(page)
        process.kill()
        process.wait()
        page.keyboard.press("Tab")
        chromium.choose(page, "sconce")
        page.wait_for_selector(".status[data-status=failed]")
        page.wait_for_selector(".message.error:has-text('not saved')")

    classes = {share.name for share in Dataset.open(rooms.folder).get([key])[0].classes}
    assert classes & {"sconce", "fountain"} == {"fountain"}


def test_an_edit_whose_answer_was_lost_is_sent_again(rooms: Dataset, open_page: Open) -> None:
    """It was stored: Try again succeeds without a conflict, and the next edit follows."""
    page = open_page(rooms)
    key = chromium.open_first(page)

    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    page.route("**/api/relabel", lose, times=1)
    page.keyboard.press("Tab")
    chromium.choose(page, "fountain")
    page.wait_for_selector(".status[data-status=failed]")
    assert {share.name for share in Dataset.open(rooms.folder).get([key])[0].classes} >= {"fountain"}
    page.locator(".message.error button:has-text('Try again')").click()
    chromium.wait_until_saved(page)
    page.keyboard.press("Control+z")
    page.wait_for_selector("button:not([disabled]):has-text('Redo')")
    chromium.wait_until_saved(page, undoable=False)
    assert page.locator("dialog, .message.error").count() == 0
    assert Dataset.open(rooms.folder).get([key])[0].edits.revision == 2


def test_a_server_killed_in_the_middle_of_a_save_loses_nothing(rooms: Dataset, open_page: Open) -> None:
    """SIGKILL while edits are on their way: what the page shows as saved is stored, and check finds no fault."""
    with serving.command(rooms.folder) as (process, url):
        page = open_page(url)
        key = chromium.open_first(page)
        page.keyboard.press("Tab")
        chromium.choose(page, "fountain")
        chromium.wait_until_saved(page)
        with page.expect_request("**/api/relabel"):
            page.keyboard.press("Tab")  # goes on with the next smaller region
            chromium.choose(page, "sconce")
        process.kill()
        process.wait()
        page.wait_for_selector(".status[data-status=failed], .status[data-status=saved]")
        is_saved = page.locator(".status[data-status=saved]").count() == 1

    opened = Dataset.open(rooms.folder)
    with opened.writing():  # recovers what was interrupted
        present = {share.name for share in opened.get([key])[0].classes} & {"sconce", "fountain"}
    assert "fountain" in present
    assert present == {"sconce", "fountain"} or not is_saved
    assert not {"file-changed", "classes-differ", "manifest-damaged"} & {problem.rule for problem in opened.check()}


def test_the_browser_is_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEGKIT_BROWSER comes first, and a wrong one is an error rather than a reason to skip."""
    monkeypatch.setenv("SEGKIT_BROWSER", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        find_browser()
    monkeypatch.setenv("SEGKIT_BROWSER", os.fspath(Path(shutil.which("sh") or "/bin/sh")))
    assert find_browser() == os.environ["SEGKIT_BROWSER"]
