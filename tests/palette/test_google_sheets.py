"""Google Sheets, tested against a local server that implements the needed part of Google's API."""

import csv
import json
import re
from pathlib import Path

import pytest

from segkit.errors import SheetError
from segkit.palette import Palette, google_sheets
from segkit.palette.google_sheets import Access, Address
from tests.conftest import Segkit
from tests.sheets_server import KEY, URL, Sheets, account


@pytest.mark.parametrize(
    ("target", "key", "worksheet"),
    [
        (URL, KEY, ""),
        (f"{URL}/edit#gid=123", KEY, "123"),
        (f"{URL}/edit?gid=7#gid=7", KEY, "7"),
        (f"https://docs.google.com/spreadsheets/u/0/d/{KEY}/edit", KEY, ""),
        (f"https://docs.google.com/spreadsheets/d/e/2PACX-{KEY}/pubhtml?gid=0", f"e/2PACX-{KEY}", "0"),
        (KEY, KEY, ""),
    ],
)
def test_addresses_are_parsed(target: str, key: str, worksheet: str) -> None:
    """URLs from the browser, published URLs and bare ids are recognised."""
    assert google_sheets.find(target) == Address(key, worksheet)


@pytest.mark.parametrize(
    "target", ["ade20k", "my.csv", "https://example.com/spreadsheets/d/" + KEY, "", "a" * 300 + "/"]
)
def test_other_targets_are_not_sheets(target: str) -> None:
    """Files, names and other web pages are left to the caller."""
    assert google_sheets.find(target) is None


def test_the_widely_copied_sheet_is_ade(sheets: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """Its CSV export (irregular cells, `;` for spaces, indices from 1) is read as ADE20K and can be saved."""
    done = segkit("check-palette", f"{URL}/edit#gid=0", "--save", tmp_path / "saved.csv")

    saved, ade = Palette.load(tmp_path / "saved.csv"), Palette.load("ade20k")
    assert (done.code, done.err) == (0, "")
    assert "a sheet of 150 classes" in done.out
    assert [(swatch.name, swatch.rgb) for swatch in saved] == [(swatch.name, swatch.rgb) for swatch in ade]


@pytest.mark.parametrize("way", ["csv", "key", "account"])
@pytest.mark.parametrize("worksheet", ["7", "It's mine"])
def test_formulas_and_markup_are_text(sheets: Sheets, segkit: Segkit, tmp_path: Path, way: str, worksheet: str) -> None:
    """This holds for any worksheet and any way of access; the saved CSV contains no formula."""
    options: dict[str, list[object]] = {
        "csv": [],
        "key": ["--api-key", "k"],
        "account": ["--credentials", account(tmp_path, sheets.url)],
    }

    done = segkit("check-palette", URL, "--worksheet", worksheet, *options[way], "--save", tmp_path / "saved.csv")

    if way == "csv" and worksheet != "7":
        assert (done.code, "be found by its gid" in done.err) == (2, True)
        return
    assert done.code == 0
    assert "0,'=cmd(),,168,119,255\n1,<b>,," in (tmp_path / "saved.csv").read_text()
    assert [swatch.name for swatch in Palette.load(tmp_path / "saved.csv")] == ["=cmd()", "<b>"]
    assert {who for _, who in sheets.asked} == {{"csv": "", "key": "k", "account": "Bearer token of the account"}[way]}


def test_findings_name_the_row(sheets: Sheets, segkit: Segkit) -> None:
    """Rows are numbered as in the sheet, empty ones included."""
    sheets.pages["It's mine"] += [["pool", "12345"]]

    done = segkit("check-palette", URL, "--worksheet", "7")

    assert done.code == 1
    assert "sheet, cell B5: '12345' is not a colour" in done.out


@pytest.mark.parametrize("options", [[], ["--api-key", "k"]])
@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "not shared"), (403, "permission to read"), (404, "no such sheet"), (429, "Wait a minute"), (500, "later")],
)
def test_refusals_are_one_line(
    sheets: Sheets, segkit: Segkit, monkeypatch: pytest.MonkeyPatch, options: list[str], status: int, message: str
) -> None:
    """A refusal is reported in one line with its cure; retries are limited, and each waits twice as long."""
    sheets.answers = [(status, "0")] * 20
    waits: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)  # the test need not wait

    done = segkit("check-palette", URL, *options)

    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert len(sheets.asked) <= 1 + google_sheets.RETRIES
    assert [seconds for seconds in waits if seconds] == ([2.0, 4.0] if status >= 429 else [])


@pytest.mark.parametrize(
    ("options", "who"),
    [
        ([], "the public"),
        (["--api-key", "k"], "an API key, which stands for the public,"),
        (["--credentials", "account.json"], "a@b.c"),
    ],
)
def test_a_refusal_names_account_and_id(
    sheets: Sheets, segkit: Segkit, folder: Path, options: list[str], who: str
) -> None:
    """Status 403 names who lacks access, 404 the sheet that does not exist."""
    account(folder, sheets.url)
    sheets.refusal = {"code": 403, "status": "PERMISSION_DENIED", "message": "no"}
    forbidden = segkit("check-palette", URL, *options)
    sheets.refusal = {}
    missing = segkit("check-palette", "2" * 44, *options)

    assert f"(403): {who} has no permission to read" in forbidden.err
    assert f"no such sheet, {'2' * 44}" in missing.err


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (400, "API_KEY_INVALID", "the API key is not valid"),
        (403, "API_KEY_SERVICE_BLOCKED", "restricted to other services"),
        (403, "SERVICE_DISABLED", "not enabled in the project"),
        (400, "FAILED_PRECONDITION", "an Excel workbook, not a Google Sheet"),
        (400, "INVALID_ARGUMENT", "no such worksheet"),
    ],
)
def test_the_reason_of_a_refusal_decides_the_cure(
    sheets: Sheets, segkit: Segkit, status: int, reason: str, message: str
) -> None:
    """One status has several causes, which the API tells apart."""
    sheets.refusal = {"code": status, "status": "INVALID_ARGUMENT", "message": "no", "details": [{"reason": reason}]}

    done = segkit("check-palette", URL, "--api-key", "top-secret")

    assert (done.code, message in done.err, "top-secret" in done.err) == (2, True, False)


def test_a_cell_over_several_lines_does_not_shift_the_rows(sheets: Sheets, segkit: Segkit) -> None:
    """Findings name cells as the sheet does, which counts rows, not the lines of its export."""
    sheets.pages = {"Mine": [["name", "hex"], ["swimming\n\npool", "A877FF"], [], ["pond", "6768G4"]]}

    done = segkit("check-palette", URL)

    assert "sheet, cell B4: '6768G4' is not a colour" in done.out


def test_findings_need_a_heading_row(sheets: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """Without one, the heading of the findings would replace a cell of the first class."""
    rows = [["lawn", "A877FF"], ["pond", "FCFF6D"]]
    sheets.pages = {"Mine": [list(row) for row in rows]}

    done = segkit("check-palette", URL, "--credentials", account(tmp_path, sheets.url), "--push")

    assert (done.code, sheets.pages["Mine"]) == (2, rows)
    assert "no heading row, which the column of findings needs" in done.err


def test_a_private_sheet_is_reported(sheets: Sheets, segkit: Segkit) -> None:
    """Google answers with a sign-in page, which must not be read as a table."""
    sheets.public = False

    assert "not shared with everybody" in segkit("check-palette", URL).err


def test_findings_are_written_beside_their_rows(sheets: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """They get a column, created once and overwritten later; no other cell changes, and text stays text."""
    rows = [["Our colours"], ["name", "hex"], ["=lawn", "646464"], [], ["pond", "676864"], ["sea", "6768G4"]]
    sheets.pages, sheets.columns = {"Mine": rows}, 2
    command = ["check-palette", URL, "--credentials", account(tmp_path, sheets.url), "--push", "--against", ""]

    first, second = segkit(*command), segkit(*command)

    assert (first.code, second.code) == (1, 1)
    assert "Wrote 2 findings to column 'segkit findings' of the sheet" in first.out
    assert "https://www.googleapis.com/auth/spreadsheets" in sheets.scopes
    assert [row[:2] for row in rows] == [
        ["Our colours"], ["name", "hex"], ["=lawn", "646464"], ["", ""], ["pond", "676864"], ["sea", "6768G4"]
    ]  # fmt: skip
    assert [row[2:] for row in rows][:2] == [[], ["segkit findings"]]
    assert rows[2][2].startswith("=lawn (0) and pond (1) are 5.00 apart")
    assert [row[2] for row in rows[3:5]] == ["", ""]
    assert rows[5][2].startswith("Our colours, cell B6: '6768G4' is not a colour")
    assert sheets.columns == 3


def test_a_corrected_row_loses_its_finding(sheets: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """Earlier findings are cleared."""
    sheets.pages = {
        "Mine": [["segkit findings", "name", "hex"], ["old", "lawn", "A877FF"], ["older", "pond", "FCFF6D"]]
    }

    done = segkit("check-palette", URL, "--credentials", account(tmp_path, sheets.url), "--push")

    assert done.code == 0
    assert sheets.pages["Mine"] == [
        ["segkit findings", "name", "hex"], ["", "lawn", "A877FF"], ["", "pond", "FCFF6D"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([URL, "--push"], "needs --credentials FILE"),
        ([URL, "--push", "--api-key", "k"], "needs --credentials FILE"),
        (["ade20k", "--push"], "--push needs a Google Sheet"),
    ],
)
def test_writing_needs_a_sheet_and_credentials(
    sheets: Sheets, segkit: Segkit, arguments: list[str], message: str
) -> None:
    """An API key can only read, and a file is not a sheet."""
    done = segkit("check-palette", *arguments)
    assert (done.code, message in done.err) == (2, True)


def test_missing_write_permission_is_reported(sheets: Sheets, tmp_path: Path) -> None:
    """Permission to read does not imply permission to write."""
    access = Access(str(account(tmp_path, sheets.url)))
    sheets.pages = {"Mine": [["name", "hex"], ["lawn", "A877FF"]]}
    _, rows = google_sheets.rows(Address(KEY), access)
    assert len(rows) == 2
    sheets.refuse_writing = True
    with pytest.raises(SheetError, match=r"403.*as an editor"):
        google_sheets.push(Address(KEY), access, {})
    assert sheets.pages["Mine"] == [["name", "hex"], ["lawn", "A877FF"]]


IRREGULAR = {
    "leading zeros": ("name,rgb", "a,(0168; 119 ;255)", ""),
    "titles above the header": ("Our colours\n\nname,hex", "a,A877FF", ""),
    "empty lines": ("name,hex", "\na,A877FF\n\n", ""),
    "an apostrophe": ("name,hex", "'=a,A877FF", ""),
    "hex with a hash": ("name,hex", "a,#A877FF", ""),
    "unusual names of columns": ("CLASS_NAME,Hex Code", "a,A877FF", ""),
    "blue first": ("name,b,g,r", "a,255,119,168", ""),
    "negative": ("name,r,g,b", "a,-1,0,0", "B2: '-1' is not a channel value"),
    "a decimal comma": ("name;r;g;b", "a;168,0;119,00;255", ""),
    "a float": ("name,r,g,b", "a,168.0,119,255", ""),
    "a fraction": ("name,r,g,b", "a,168.5,119,255", "B2: '168.5' is not a channel value"),
    "numbers of a spreadsheet": ("idx,name,r,g,b", "0.0,a,168.0,119.0,255.0", ""),
    "no heading row": ("a,A877FF", "b,FCFF6D", ""),
    "out of range": ("name,rgb", "a,(256; 0; 0)", "B2: '256' is not a channel value"),
    "two channels": ("name,rgb", "a,(6; 0)", "B2: '(6, 0)' is not a colour"),
    "an error of a formula": ("name,hex", "a,#REF!", "B2: '#REF!' is not a colour"),
    "a formula": ("name,hex", "a,=B1", "B2: '=B1' is not a colour"),
    "short hex": ("name,hex", "a,A87", "B2: 'A87' is not a colour"),
    "hex turned into a number": ("name,hex", "a,1.00E+05", "B2: '1.00E+05' is not a colour"),
    "merged names": ("name,hex", "a,A877FF\n,FCFF6D", "A3: the class has no name (in merged cells"),
    "merged colours": ("name,hex", "a,A877FF\nb,", "B3: the class has no colour (in merged cells"),
    "merged indices": ("idx,name,hex", "0,a,A877FF\n,b,FCFF6D", "A3: '' is not a class index"),
    "swapped columns": ("idx,name,hex", "a,0,A877FF", "A2: 'a' is not a class index"),
    "colours that disagree": ("name,hex,r,g,b", "a,A877FF,1,2,3", "2: its colours disagree"),
    "an index twice": ("idx,name,hex", "0,a,A877FF\n0,b,FCFF6D", "A3: index 0 is already used in "),
    "a gap": ("idx,name,hex", "0,a,A877FF\n2,b,FCFF6D", "no class has index 1"),
    "a name twice": ("name,hex", "a,A877FF\nA,FCFF6D", "A is the name of classes 0 and 1"),
    "two columns of one name": ("name,hex,name", "a,A877FF,b", "2 columns called name"),
    "no names": ("idx,hex", "0,A877FF", "no column name"),
    "no colours": ("idx,name", "0,a", "no column r, g and b"),
    "no rows": ("name,hex", "", "no rows"),
    "nothing": ("", "", "no rows"),
    "too many rows": ("name,hex", "\n".join(["a,A877FF"] * 256), "256 rows"),
    "151 rows": ("name,hex", "black,000000" + "".join(f"\n{n},{n:02X}77FF" for n in range(150)), "151 rows with black"),
    "a control character": ("name,hex", "a\x07,A877FF", "invisible characters"),
}  # fmt: skip


@pytest.mark.parametrize("way", ["api", "public", "file"])
@pytest.mark.parametrize("name", IRREGULAR)
def test_irregular_tables_read_as_intended_or_are_reported(
    sheets: Sheets, segkit: Segkit, tmp_path: Path, name: str, way: str
) -> None:
    """API, CSV export and file give the same classes, or the same one-line error that names the row."""
    header, body, expected = IRREGULAR[name]
    separator = ";" if ";" in header else ","
    lines = [line.split(separator) for line in f"{header}\n{body}".split("\n")]
    sheets.pages = {"Mine": [[cell.replace(";", ",") if separator == "," else cell for cell in line] for line in lines]}
    target: object = URL
    if way == "file":
        target = tmp_path / "mine.csv"
        with Path(str(target)).open("w", newline="") as file:
            csv.writer(file).writerows(sheets.pages["Mine"])

    done = segkit("check-palette", target, *(["--api-key", "k"] if way == "api" else []), "--json")

    if not expected:
        report = json.loads(done.out)
        classes = 2 if name == "no heading row" else 1
        assert (done.code, report["classes"], report["findings"]) == (0, classes, [])
        return
    if cell := re.match(r"([A-E])(\d): ", expected):
        column = ord(cell[1]) - ord("A")
        place = f"line {cell[2]}, column {column + 1} ({header.split(separator)[column]})"
        expected = (place if way == "file" else f"cell {cell[1]}{cell[2]}") + expected[2:]
    messages = [finding["message"] for finding in json.loads(done.out)["findings"]] if done.code == 1 else [done.err]
    assert done.code in (1, 2)
    assert any(expected in message for message in messages)
    assert all(message.strip().count("\n") == 0 for message in messages)
    assert "Traceback" not in done.err
