"""Google Sheets, read from a server on loopback that speaks the needed part of Google's API."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from segkit import palette, sheets
from segkit.errors import SheetError
from segkit.sheets import Access, Address
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
        for each in palette.load("ade20k")
    ]
    for row in ade:
        row[5] = row[5].replace(" ", ";")
    ade[49][2], ade[61][2] = "(0250, 10, 15)", "(255 ,82, 0)"
    colours = {50: "#FA0A0F", 62: "#FF5200"}
    assert {number: ade[number - 1][3] for number in colours} == colours
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
    assert sheets.find(target) == Address(key, worksheet)


@pytest.mark.parametrize(
    "target", ["ade20k", "my.csv", "https://example.com/spreadsheets/d/" + KEY, "", "a" * 300 + "/"]
)
def test_other_targets_are_no_sheets(target: str) -> None:
    """Files, names and pages elsewhere."""
    assert sheets.find(target) is None


def test_the_sheet_that_many_copied_is_ade(held: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """Without credentials, by its CSV: odd cells, `;` for blanks and commas, counted from 1; and it can be kept."""
    done = segkit("check-palette", f"{URL}/edit#gid=0", "--save", tmp_path / "kept.csv")

    kept, ade = palette.load(tmp_path / "kept.csv"), palette.load("ade20k")
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
    assert [each.name for each in palette.load(tmp_path / "kept.csv")] == ["=cmd()", "<b>"]
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
def test_refusals_are_one_line(held: Sheets, segkit: Segkit, words: list[str], status: int, told: str) -> None:
    """What the service refuses is told with what to do, and nothing is kept on trying."""
    held.answers = [(status, "0")] * 20

    done = segkit("check-palette", URL, *words)

    assert done.code == 2
    assert told in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert len(held.asked) <= 1 + sheets.RETRIES


@pytest.mark.parametrize("words", [[], ["--api-key", "k"]])
def test_what_is_asked_to_come_later_comes_later(held: Sheets, segkit: Segkit, words: list[str]) -> None:
    """After 429 with Retry-After the request is sent again."""
    held.answers = [(429, "1")]

    assert segkit("check-palette", URL, *words).code == 0


@pytest.mark.parametrize("access", [Access(), Access(api_key="k")])
def test_a_silent_service_is_not_waited_for(held: Sheets, monkeypatch: pytest.MonkeyPatch, access: Access) -> None:
    """Nor is one that is not there."""
    monkeypatch.setattr(sheets, "TIMEOUT", 0.2)
    held.delay = 1

    with pytest.raises(SheetError, match=r"did not answer within 0\.2 seconds"):
        sheets.rows(Address(KEY), access)


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
