"""Open the page in the browser of the person at this machine."""

import os
import sys
import threading
import webbrowser


def open_page(url: str) -> None:
    """Open a URL in the background, unless this machine has no screen: a browser for terminals would take this one."""
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
