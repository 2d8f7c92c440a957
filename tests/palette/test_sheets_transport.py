"""Requests to Google: complete answers, in time, from Google's hosts only."""

import json
from pathlib import Path

import pytest

from segkit.errors import SheetError
from segkit.palette import google_sheets
from segkit.palette.google_sheets import Access, Address
from tests.conftest import Segkit
from tests.sheets_server import KEY, URL, Sheets, account


def small(sheets: Sheets) -> None:
    """Shorten the first worksheet, so that its transfer takes a moment even byte by byte."""
    sheets.pages = {"Mine": [["name", "hex"], ["lawn", "A877FF"], ["pond", "FCFF6D"]]}


@pytest.mark.parametrize("options", [[], ["--api-key", "k"]])
def test_throttled_requests_are_retried(sheets: Sheets, segkit: Segkit, options: list[str]) -> None:
    """A request that is answered with 429 and Retry-After is sent again."""
    sheets.answers = [(429, "1")]

    assert segkit("check-palette", URL, *options).code == 0


@pytest.mark.parametrize("access", [Access(), Access(api_key="k")])
def test_an_unresponsive_service_times_out(sheets: Sheets, monkeypatch: pytest.MonkeyPatch, access: Access) -> None:
    """The error states how long segkit waited."""
    monkeypatch.setattr(google_sheets, "TIMEOUT", 0.2)
    sheets.delay = 5

    with pytest.raises(SheetError, match=r"did not answer within 0\.2 seconds"):
        google_sheets.rows(Address(KEY), access)


@pytest.mark.parametrize("options", [[], ["--api-key", "k"], ["--credentials", "account.json"]])
@pytest.mark.parametrize("fault", ["cut", "cut chunk", "hang up"])
def test_an_incomplete_answer_is_requested_again(
    sheets: Sheets, segkit: Segkit, folder: Path, waits: list[float], fault: str, options: list[str]
) -> None:
    """A body that ends early is never read as the whole table; after some attempts the command ends in one line."""
    small(sheets)
    account(folder, sheets.url)
    sheets.faults = [fault, fault]

    once = segkit("check-palette", URL, *options, "--json")
    sheets.faults = [fault] * 20
    always = segkit("check-palette", URL, *options)

    assert (once.code, json.loads(once.out)["classes"]) == (0, 2)
    assert (always.code, always.out, always.err.count("\n")) == (2, "", 1)
    assert "(4 attempts)" in always.err
    assert ("cannot be reached" if fault == "hang up" else "an incomplete answer") in always.err
    assert [seconds for seconds in waits if seconds] == [2, 2, 4]


@pytest.mark.parametrize("access", [Access(), Access(api_key="k")])
@pytest.mark.parametrize("fault", ["silence", "trickle"])
def test_a_stalled_body_ends_in_time(
    sheets: Sheets, monkeypatch: pytest.MonkeyPatch, waits: list[float], fault: str, access: Access
) -> None:
    """The limit holds for the whole answer: a server that sends a byte now and then gains no time."""
    monkeypatch.setattr(google_sheets, "TIMEOUT", 0.3)
    sheets.faults = [fault] * 20

    with pytest.raises(SheetError, match=r"did not answer within 0\.3 seconds \(2 attempts\)"):
        google_sheets.rows(Address(KEY), access)
    assert len(sheets.asked) == 2


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("https://example.com/export", "https://example.com"),
        ("http://docs.google.com/export", "http://docs.google.com"),
        ("https://docs.google.com.example.com/", "https://docs.google.com.example.com"),
        ("https://docs.google.com@example.com/", "https://example.com"),
        ("https://docs.google.com:444/", "https://docs.google.com"),
        ("https://evilgoogleusercontent.com/", "https://evilgoogleusercontent.com"),
        ("http://127.0.0.1:1/", "http://127.0.0.1"),
        ("file:///etc/passwd", ""),
    ],
)
@pytest.mark.parametrize("options", [[], ["--api-key", "k"]])
def test_redirects_stay_with_google(
    sheets: Sheets, segkit: Segkit, location: str, place: str, options: list[str]
) -> None:
    """A redirect to another host, another port or without TLS is not followed, so it takes no key along."""
    sheets.redirects = [location]

    done = segkit("check-palette", URL, *options)

    assert (done.code, done.err.count("\n")) == (2, 1)
    assert (f"redirected the request to {place}, and nothing was sent there" if place else "cannot be") in done.err
    assert len(sheets.asked) == 1


def test_a_redirect_within_google_is_followed(sheets: Sheets, segkit: Segkit) -> None:
    """Exports are served from googleusercontent.com; here the test server replaces it."""
    sheets.redirects = [
        f"https://doc-0s-sheets.googleusercontent.com/spreadsheets/d/{KEY}/export",
        "/x/" + KEY + "/export",
    ]

    done = segkit("check-palette", URL)

    assert (done.code, len(sheets.asked)) == (0, 3)


def test_a_redirect_to_the_sign_in_page_means_a_private_sheet(sheets: Sheets, segkit: Segkit) -> None:
    """Google answers some requests for a private sheet so."""
    sheets.redirects = ["https://accounts.google.com/ServiceLogin?continue=x"]

    assert "not shared with everybody" in segkit("check-palette", URL).err


def test_redirects_without_end_are_reported(sheets: Sheets, segkit: Segkit) -> None:
    """They end after a few requests, in one line."""
    sheets.redirects = ["/again"] * 40

    done = segkit("check-palette", URL)

    assert (done.code, "TooManyRedirects" in done.err, len(sheets.asked)) == (2, True, 6)


@pytest.mark.parametrize("options", [[], ["--api-key", "k"]])
def test_a_web_page_of_the_network_is_no_sheet(sheets: Sheets, segkit: Segkit, options: list[str]) -> None:
    """A proxy or a captive portal may answer in Google's place, even with status 200 and without a content type."""
    sheets.impostor = "\n<!DOCTYPE html><html>Welcome to our hotel</html>"

    done = segkit("check-palette", URL, *options)

    assert (done.code, done.err.count("\n")) == (2, 1)
    assert ("not its JSON" if options else "not shared with everybody") in done.err
