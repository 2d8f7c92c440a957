"""Google Sheets, read from a server on loopback that speaks the needed part of Google's API."""

import csv
import json
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
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sheets]:
    """A running server with ADE in the layout of the sheet that many copied, and a small second worksheet."""
    ade = [
        [
            str(each.index + 1),
            "0.1",
            str(each.rgb),
            each.hex,
            "",
            ";".join((each.name, *each.synonyms)).replace(" ", ";"),
        ]
        for each in Palette.load("ade20k")
    ]
    for row in ade:
        row[5] = row[5].replace(" ", ";")
    ade[49][2], ade[61][2] = "(0250, 10, 15)", "(255 ,82, 0)"
    colors = {50: "#FA0A0F", 62: "#FF5200"}
    assert {number: ade[number - 1][3] for number in colors} == colors
    held = Sheets(
        {"Sheet1": [HEADER, *ade], "It's mine": [["name", "hex"], [], ["=cmd()", "A877FF"], ["<b>", "FCFF6D"]]}
    )
    server = start(held)
    monkeypatch.setenv("SEGKIT_SHEETS_URL", held.url)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    yield held
    server.shutdown()
    server.server_close()


def account(folder: Path, url: str) -> Path:
    """Write the key file of a service account whose tokens come from the server."""
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
def test_addresses_are_told(target: str, key: str, worksheet: str) -> None:
    """As browsers show them, published ones, and the id alone."""
    assert google_sheets.find(target) == Address(key, worksheet)


@pytest.mark.parametrize(
    "target", ["ade20k", "my.csv", "https://example.com/spreadsheets/d/" + KEY, "", "a" * 300 + "/"]
)
def test_other_targets_are_no_sheets(target: str) -> None:
    """Files, names and pages elsewhere."""
    assert google_sheets.find(target) is None


def test_the_sheet_that_many_copied_is_ade(held: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """Without credentials, by its CSV: odd cells, `;` for blanks and commas, counted from 1; and it can be kept."""
    done = segkit("check-palette", f"{URL}/edit#gid=0", "--save", tmp_path / "kept.csv")

    kept, ade = Palette.load(tmp_path / "kept.csv"), Palette.load("ade20k")
    assert (done.code, done.err) == (0, "")
    assert "a sheet of 150 classes" in done.out
    assert [(each.name, each.rgb) for each in kept] == [(each.name, each.rgb) for each in ade]


@pytest.mark.parametrize("way", ["csv", "key", "account"])
@pytest.mark.parametrize("worksheet", ["7", "It's mine"])
def test_formulas_and_markup_are_text(held: Sheets, segkit: Segkit, tmp_path: Path, way: str, worksheet: str) -> None:
    """Any worksheet, by gid or name, with an API key or a service account; the CSV that is kept holds no formula."""
    signed_in: dict[str, list[object]] = {
        "csv": [],
        "key": ["--api-key", "k"],
        "account": ["--credentials", account(tmp_path, held.url)],
    }

    done = segkit("check-palette", URL, "--worksheet", worksheet, *signed_in[way], "--save", tmp_path / "kept.csv")

    if way == "csv" and worksheet != "7":
        assert (done.code, "found by its gid" in done.err) == (2, True)
        return
    assert done.code == 0
    assert "0,'=cmd(),,168,119,255\n1,<b>,," in (tmp_path / "kept.csv").read_text()
    assert [each.name for each in Palette.load(tmp_path / "kept.csv")] == ["=cmd()", "<b>"]
    assert {who for _, who in held.asked} == {{"csv": "", "key": "k", "account": "Bearer token of the account"}[way]}


def test_the_environment_signs_in(held: Sheets, segkit: Segkit, monkeypatch: pytest.MonkeyPatch) -> None:
    """GOOGLE_API_KEY is taken where nothing is given."""
    monkeypatch.setenv("GOOGLE_API_KEY", "from outside")

    assert segkit("check-palette", URL).code == 0
    assert {who for _, who in held.asked} == {"from outside"}


def test_findings_name_the_row(held: Sheets, segkit: Segkit) -> None:
    """As the sheet counts them, empty ones too."""
    held.pages["It's mine"] += [["pool", "12345"]]

    done = segkit("check-palette", URL, "--worksheet", "7")

    assert done.code == 1
    assert "line 5: '12345' is no colour" in done.out


@pytest.mark.parametrize("words", [[], ["--api-key", "k"]])
@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "not shared"), (403, "may not read it"), (404, "no such sheet"), (429, "Wait a minute"), (500, "later")],
)
def test_refusals_are_one_line(
    held: Sheets, segkit: Segkit, monkeypatch: pytest.MonkeyPatch, words: list[str], status: int, told: str
) -> None:
    """What the service refuses is told with what to do, and nothing is kept on trying; each wait is twice as long."""
    held.answers = [(status, "0")] * 20
    waits: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waits.append)  # nobody has to sit through them

    done = segkit("check-palette", URL, *words)

    assert done.code == 2
    assert told in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert len(held.asked) <= 1 + google_sheets.RETRIES
    assert [seconds for seconds in waits if seconds] == ([2.0, 4.0] if status >= 429 else [])


@pytest.mark.parametrize("words", [[], ["--api-key", "k"]])
def test_what_is_asked_to_come_later_comes_later(held: Sheets, segkit: Segkit, words: list[str]) -> None:
    """After 429 with Retry-After the request is sent again."""
    held.answers = [(429, "1")]

    assert segkit("check-palette", URL, *words).code == 0


@pytest.mark.parametrize("access", [Access(), Access(api_key="k")])
def test_a_silent_service_is_not_waited_for(held: Sheets, monkeypatch: pytest.MonkeyPatch, access: Access) -> None:
    """Nor is one that is not there."""
    monkeypatch.setattr(google_sheets, "TIMEOUT", 0.2)
    held.delay = 5

    with pytest.raises(SheetError, match=r"did not answer within 0\.2 seconds"):
        google_sheets.rows(Address(KEY), access)


def test_a_private_sheet_is_told(held: Sheets, segkit: Segkit) -> None:
    """Google answers with a page to sign in, which is no table."""
    held.public = False

    assert "not shared with everybody" in segkit("check-palette", URL).err


def test_the_stand_in_must_be_on_loopback(segkit: Segkit, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable sends a key elsewhere."""
    monkeypatch.setenv("SEGKIT_SHEETS_URL", "https://example.com")

    assert "expected an address on loopback" in segkit("check-palette", URL, "--api-key", "k").err


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"type": "service_account", "private_key": "secret"}'])
def test_a_file_that_is_no_key_is_refused(held: Sheets, segkit: Segkit, tmp_path: Path, content: str) -> None:
    """In one line that does not repeat what stands in it."""
    (tmp_path / "key.json").write_text(content)

    done = segkit("check-palette", URL, "--credentials", tmp_path / "key.json")

    assert (done.code, "no key file" in done.err, "secret" in done.err) == (2, True, False)


@pytest.mark.parametrize("kind", ["installed", "web"])
def test_an_oauth_client_is_told_how_to_sign_in(held: Sheets, segkit: Segkit, tmp_path: Path, kind: str) -> None:
    """The file that Google's console hands out names nobody; the command that signs in is told."""
    (tmp_path / "client.json").write_text(json.dumps({kind: {"client_id": "a", "client_secret": "secret"}}))

    done = segkit("check-palette", URL, "--credentials", tmp_path / "client.json")

    assert (done.code, "secret" in done.err) == (2, False)
    assert f"gcloud auth application-default login --client-id-file={tmp_path / 'client.json'}" in done.err


def test_findings_are_written_beside_their_rows(held: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """In a column of their own, which is made once and written anew; no other cell changes, and text stays text."""
    rows = [["Our colours"], ["name", "hex"], ["=lawn", "646464"], [], ["pond", "676864"], ["sea", "6768G4"]]
    held.pages, held.columns = {"Mine": rows}, 2
    words = ["check-palette", URL, "--credentials", account(tmp_path, held.url), "--push", "--against", ""]

    first, second = segkit(*words), segkit(*words)

    assert (first.code, second.code) == (1, 1)
    assert "2 findings written into the sheet's column 'segkit findings'" in first.out
    assert "https://www.googleapis.com/auth/spreadsheets" in held.scopes
    assert [row[:2] for row in rows] == [
        ["Our colours"], ["name", "hex"], ["=lawn", "646464"], ["", ""], ["pond", "676864"], ["sea", "6768G4"]
    ]  # fmt: skip
    assert [row[2:] for row in rows][:2] == [[], ["segkit findings"]]
    assert rows[2][2].startswith("=lawn (0) and pond (1) are 5.00 apart")
    assert [row[2] for row in rows[3:5]] == ["", ""]
    assert rows[5][2].startswith("Our colours, line 6: '6768G4' is no colour")
    assert held.columns == 3


def test_a_mended_row_loses_its_finding(held: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """Findings of before do not stay."""
    held.pages = {"Mine": [["segkit findings", "name", "hex"], ["old", "lawn", "A877FF"], ["older", "pond", "FCFF6D"]]}

    done = segkit("check-palette", URL, "--credentials", account(tmp_path, held.url), "--push")

    assert done.code == 0
    assert held.pages["Mine"] == [
        ["segkit findings", "name", "hex"], ["", "lawn", "A877FF"], ["", "pond", "FCFF6D"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([URL, "--push"], "needs --credentials FILE"),
        ([URL, "--push", "--api-key", "k"], "needs --credentials FILE"),
        (["ade20k", "--push"], "writes to a Google Sheet"),
    ],
)
def test_writing_needs_a_sheet_and_credentials(held: Sheets, segkit: Segkit, words: list[str], told: str) -> None:
    """An API key may read only, and a file is no sheet."""
    done = segkit("check-palette", *words)
    assert (done.code, told in done.err) == (2, True)


def test_a_sheet_that_may_not_be_written_is_told(held: Sheets, tmp_path: Path) -> None:
    """Reading may be allowed where writing is not."""
    access = Access(str(account(tmp_path, held.url)))
    held.pages = {"Mine": [["name", "hex"], ["lawn", "A877FF"]]}
    book = google_sheets.rows(Address(KEY), access)
    assert len(book[1]) == 2
    held.refuse_writing = True
    with pytest.raises(SheetError, match=r"403.*as an editor"):
        google_sheets.push(Address(KEY), access, {})
    assert held.pages["Mine"] == [["name", "hex"], ["lawn", "A877FF"]]


BAD = {
    "leading zeros": ("name,rgb", "a,(0168; 119 ;255)", ""),
    "titles above the header": ("Our colours\n\nname,hex", "a,A877FF", ""),
    "empty lines": ("name,hex", "\na,A877FF\n\n", ""),
    "an apostrophe": ("name,hex", "'=a,A877FF", ""),
    "hex with a hash": ("name,hex", "a,#A877FF", ""),
    "odd names of columns": ("CLASS_NAME,Hex Code", "a,A877FF", ""),
    "blue first": ("name,b,g,r", "a,255,119,168", ""),
    "negative": ("name,r,g,b", "a,-1,0,0", "line 2: '-1' is no channel value"),
    "a decimal comma": ("name;r;g;b", "a;168,0;119;255", "line 2: '168,0' is no channel value"),
    "a float": ("name,r,g,b", "a,168.0,119,255", "line 2: '168.0' is no channel value"),
    "out of range": ("name,rgb", "a,(256; 0; 0)", "line 2: '256' is no channel value"),
    "two channels": ("name,rgb", "a,(6; 0)", "line 2: '(6, 0)' is no colour"),
    "an error of a formula": ("name,hex", "a,#REF!", "line 2: '#REF!' is no colour"),
    "a formula": ("name,hex", "a,=B1", "line 2: '=B1' is no colour"),
    "short hex": ("name,hex", "a,A87", "line 2: 'A87' is no colour"),
    "hex turned into a number": ("name,hex", "a,1.00E+05", "line 2: '1.00E+05' is no colour"),
    "merged names": ("name,hex", "a,A877FF\n,FCFF6D", "line 3: the class has no name (of merged cells"),
    "merged colours": ("name,hex", "a,A877FF\nb,", "line 3: the class has no colour (of merged cells"),
    "merged indices": ("idx,name,hex", "0,a,A877FF\n,b,FCFF6D", "line 3: '' is no class index"),
    "swapped columns": ("idx,name,hex", "a,0,A877FF", "line 2: 'a' is no class index"),
    "colours that disagree": ("name,hex,r,g,b", "a,A877FF,1,2,3", "line 2: its colours disagree"),
    "an index twice": ("idx,name,hex", "0,a,A877FF\n0,b,FCFF6D", "line 3: index 0 stands in line 2 already"),
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
@pytest.mark.parametrize("name", BAD)
def test_odd_sheets_and_files_read_as_meant_or_are_told(
    held: Sheets, segkit: Segkit, tmp_path: Path, name: str, way: str
) -> None:
    """By the API, as a public sheet, as a file: the same reading, or the same one line that names the row."""
    header, body, told = BAD[name]
    mark = ";" if ";" in header else ","
    lines = [line.split(mark) for line in f"{header}\n{body}".split("\n")]
    held.pages = {"Mine": [[cell.replace(";", ",") if mark == "," else cell for cell in line] for line in lines]}
    target: object = URL
    if way == "file":
        target = tmp_path / "mine.csv"
        with Path(str(target)).open("w", newline="") as file:
            csv.writer(file).writerows(held.pages["Mine"])

    done = segkit("check-palette", target, *(["--api-key", "k"] if way == "api" else []), "--json")

    if not told:
        found = json.loads(done.out)
        assert (done.code, found["classes"], found["findings"]) == (0, 1, [])
        return
    messages = [each["message"] for each in json.loads(done.out)["findings"]] if done.code == 1 else [done.err]
    assert done.code in (1, 2)
    assert any(told in message for message in messages)
    assert all(message.strip().count("\n") == 0 for message in messages)
    assert "Traceback" not in done.err
