"""Google Sheets, tested against a local server that implements the needed part of Google's API."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from segkit.errors import SheetError
from segkit.palette import Palette, google_sheets
from segkit.palette.google_sheets import Access, Address
from tests.conftest import Segkit
from tests.sheets_server import KEY, Sheets, start

URL = f"https://docs.google.com/spreadsheets/d/{KEY}"
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
    server.shutdown()
    server.server_close()


def account(folder: Path, url: str) -> Path:
    """Write the key file of a service account whose tokens the server issues."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    path = folder / "account.json"
    content = {"type": "service_account", "client_email": "a@b.c", "token_uri": f"{url}/token", "private_key": pem}
    path.write_text(json.dumps(content))
    return path


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


def test_the_environment_provides_access(sheets: Sheets, segkit: Segkit, monkeypatch: pytest.MonkeyPatch) -> None:
    """GOOGLE_API_KEY is used when no option is given."""
    monkeypatch.setenv("GOOGLE_API_KEY", "from outside")

    assert segkit("check-palette", URL).code == 0
    assert {who for _, who in sheets.asked} == {"from outside"}


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


def test_a_private_sheet_is_reported(sheets: Sheets, segkit: Segkit) -> None:
    """Google answers with a sign-in page, which must not be read as a table."""
    sheets.public = False

    assert "not shared with everybody" in segkit("check-palette", URL).err


def test_the_test_server_must_be_on_loopback(segkit: Segkit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment variable cannot send a key to another machine."""
    monkeypatch.setenv("SEGKIT_SHEETS_URL", "https://example.com")

    assert "expected an address on loopback" in segkit("check-palette", URL, "--api-key", "k").err


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"type": "service_account", "private_key": "secret"}'])
def test_a_file_that_is_not_a_key_is_refused(sheets: Sheets, segkit: Segkit, tmp_path: Path, content: str) -> None:
    """The error does not quote the content of the file."""
    (tmp_path / "key.json").write_text(content)

    done = segkit("check-palette", URL, "--credentials", tmp_path / "key.json")

    assert (done.code, "not a key file" in done.err, "secret" in done.err) == (2, True, False)


@pytest.mark.parametrize("kind", ["installed", "web"])
def test_an_oauth_client_is_refused_with_the_sign_in_command(
    sheets: Sheets, segkit: Segkit, tmp_path: Path, kind: str
) -> None:
    """The file from Google's console does not identify a user; the error gives the command that signs in."""
    (tmp_path / "client.json").write_text(json.dumps({kind: {"client_id": "a", "client_secret": "secret"}}))

    done = segkit("check-palette", URL, "--credentials", tmp_path / "client.json")

    assert (done.code, "secret" in done.err) == (2, False)
    assert f"gcloud auth application-default login --client-id-file={tmp_path / 'client.json'}" in done.err


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
    "151 rows": ("name,hex", "\n".join(["black,000000"] + ["a,A877FF"] * 150), "151 rows with black first"),
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
