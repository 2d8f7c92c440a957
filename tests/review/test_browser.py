"""The page is opened where there is a screen."""

import sys
import threading
import webbrowser

import pytest

from segkit.review import browser


@pytest.mark.parametrize("has_screen", [True, False])
def test_a_browser_is_opened_on_a_screen_only(monkeypatch: pytest.MonkeyPatch, has_screen: bool) -> None:
    """On a machine without a screen, a browser for terminals would take over this one."""
    opened, done = [], threading.Event()

    def show(url: str) -> None:
        opened.append(url)
        done.set()

    monkeypatch.setattr(webbrowser, "open", show)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0" if has_screen else "")

    browser.open_page("http://127.0.0.1:1/")

    assert not has_screen or done.wait(10)
    assert len(opened) == has_screen
