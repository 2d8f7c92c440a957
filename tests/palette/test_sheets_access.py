"""Signing in to Google Sheets: what is wrong is said, and no secret is shown."""

import json
from pathlib import Path

import pytest

from tests.conftest import Segkit
from tests.sheets_server import URL, Sheets, account, user


def test_the_environment_provides_access(sheets: Sheets, segkit: Segkit, monkeypatch: pytest.MonkeyPatch) -> None:
    """GOOGLE_API_KEY is used when no option is given."""
    monkeypatch.setenv("GOOGLE_API_KEY", "from outside")

    assert segkit("check-palette", URL).code == 0
    assert {who for _, who in sheets.asked} == {"from outside"}


def test_a_user_signs_in_with_a_refresh_token(sheets: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """The key file of an authorized user gives access like that of a service account."""
    assert segkit("check-palette", URL, "--credentials", user(tmp_path)).code == 0
    assert {who for _, who in sheets.asked} == {"Bearer token of the account"}


@pytest.mark.parametrize(
    ("who", "cure"), [("service account", "the key of a@b.c"), ("user", "gcloud auth application-default login")]
)
def test_an_expired_token_is_reported(sheets: Sheets, segkit: Segkit, tmp_path: Path, who: str, cure: str) -> None:
    """Google refuses an expired or revoked sign-in and a deleted key alike; the error quotes nothing of the answer."""
    path = user(tmp_path) if who == "user" else account(tmp_path, sheets.url)
    sheets.token_refusal = {"error": "invalid_grant", "error_description": "secret: Token has been expired or revoked."}

    done = segkit("check-palette", URL, "--credentials", path)

    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert cure in done.err
    assert "secret" not in done.err


def test_a_token_that_the_api_refuses_is_reported(sheets: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """Status 401 with credentials is about the credentials, not about who may see the sheet."""
    sheets.refusal = {"code": 401, "status": "UNAUTHENTICATED", "message": "no"}

    done = segkit("check-palette", URL, "--credentials", account(tmp_path, sheets.url))

    assert (done.code, "does not accept the key of a@b.c" in done.err) == (2, True)


@pytest.mark.parametrize(
    "secret",
    [
        '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----"}',
        "AIzaSyD-1234567890",
        "ya29.a0Af",
        "1//0gXYZ",
        "GOCSPX-abc",
    ],
)
def test_a_secret_in_place_of_a_path_is_not_shown(sheets: Sheets, segkit: Segkit, secret: str) -> None:
    """The content of a key file, an API key or a token may be passed by mistake."""
    done = segkit("check-palette", URL, "--credentials", secret)

    assert (done.code, secret[:9] in done.err, "is a secret, not the path" in done.err) == (2, False, True)


@pytest.mark.parametrize("key", ["k\ntop-secret", "tøp-secret"])
def test_an_api_key_that_no_request_can_carry_is_refused(sheets: Sheets, segkit: Segkit, key: str) -> None:
    """The error does not show it; a line end after the key is ignored."""
    done = segkit("check-palette", URL, "--api-key", key)

    assert (done.code, key[-6:] in done.err, "characters beyond ASCII" in done.err) == (2, False, True)
    assert segkit("check-palette", URL, "--api-key", "k\n").code == 0


def test_a_key_file_cannot_send_its_signature_elsewhere(sheets: Sheets, segkit: Segkit, tmp_path: Path) -> None:
    """The token_uri of a key file must be Google's."""
    path = account(tmp_path, "https://example.com")

    done = segkit("check-palette", URL, "--credentials", path)

    assert (done.code, sheets.scopes) == (2, [])
    assert "its token_uri leads to example.com, not to Google" in done.err


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
