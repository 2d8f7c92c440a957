"""Fixtures of the palette tests: a Google Sheets server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from segkit.palette import Palette
from tests.sheets_server import Sheets, start

HEADER = ["Idx", "Ratio", "Color_Code (R,G,B)", "Color_Code(hex)", "Color", "Name"]


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sheets]:
    """Start a server with ADE20K in the layout of a widely copied sheet, and a small second worksheet."""
    ade = [
        [
            str(swatch.index + 1),
            "0.1",
            str(swatch.rgb),
            swatch.hex,
            "",
            ";".join((swatch.name, *swatch.synonyms)).replace(" ", ";"),
        ]
        for swatch in Palette.load("ade20k")
    ]
    for row in ade:
        row[5] = row[5].replace(" ", ";")
    ade[49][2], ade[61][2] = "(0250, 10, 15)", "(255 ,82, 0)"
    colors = {50: "#FA0A0F", 62: "#FF5200"}
    assert {number: ade[number - 1][3] for number in colors} == colors
    sheets = Sheets(
        {"Sheet1": [HEADER, *ade], "It's mine": [["name", "hex"], [], ["=cmd()", "A877FF"], ["<b>", "FCFF6D"]]}
    )
    server = start(sheets)
    monkeypatch.setenv("SEGKIT_SHEETS_URL", sheets.url)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    yield sheets
    sheets.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the waits between attempts instead of waiting."""
    waits: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)
    return waits


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
