"""Signing in to Google Sheets: key files, API keys, and the accounts that they stand for."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from segkit.errors import SheetError

if TYPE_CHECKING:
    import gspread

    from segkit.palette.sheets_transport import Limits

_SCOPE = "https://www.googleapis.com/auth/spreadsheets"
_API_KEY = re.compile(r"[ -~]+")
_SECRET = re.compile(r"[{\n]|^\s*(AIza|ya29\.|GOCSPX-|1//)|PRIVATE KEY")
"""What begins or occurs in key files, API keys, OAuth tokens and client secrets, and hardly in a path."""


@dataclass(frozen=True)
class Access:
    """How to sign in.

    Attributes:
        credentials: path of the key file of a service account or an authorized user; "" for none.
        api_key: a Google API key, which can only read; "" for none.
    """

    credentials: str = ""
    api_key: str = ""

    @classmethod
    def of(cls, credentials: str = "", api_key: str = "") -> "Access":
        """Return the given access, or if both are empty that of GOOGLE_APPLICATION_CREDENTIALS and GOOGLE_API_KEY."""
        if credentials or api_key:
            return cls(credentials, api_key)
        return cls(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", ""), os.environ.get("GOOGLE_API_KEY", ""))


def account(access: Access) -> str:
    """Return the e-mail address of the service account, or a description of who signs in; never a secret."""
    if access.api_key:
        return "an API key, which stands for the public,"
    if not access.credentials:
        return "the public"
    try:
        content = json.loads(Path(access.credentials).read_text("utf-8"))
        name = content.get("client_email") or content.get("account")
    except (OSError, ValueError, AttributeError):
        name = ""
    return str(name or f"the user who signed in with {access.credentials}")


def base_url() -> str:
    """Return the address of the test server named by SEGKIT_SHEETS_URL; "" for Google's own.

    Only loopback addresses are accepted, so that the variable cannot send credentials to another machine.

    Raises:
        SheetError: the variable names another address.
    """
    url = os.environ.get("SEGKIT_SHEETS_URL", "")
    if not url:
        return ""
    try:
        if ip_address(urlsplit(url).hostname or "").is_loopback:
            return url.rstrip("/")
    except ValueError:
        pass
    raise SheetError(f"SEGKIT_SHEETS_URL={url}: expected an address on loopback, such as http://127.0.0.1:8000.")


def client(access: Access, limits: "Limits", writing: bool) -> "gspread.Client":
    """Return a client of the Sheets API; it signs in with its first request.

    Args:
        access: credentials or an API key.
        limits: of each request.
        writing: whether the client asks for permission to write.

    Raises:
        SheetError: the key file or the API key is unusable.
    """
    import gspread
    import requests
    from google.auth.transport.requests import AuthorizedSession, Request

    from segkit.palette import sheets_transport
    from segkit.palette.sheets_transport import API_HOSTS, TOKEN_HOSTS, Transport

    base = base_url()
    if access.api_key:
        session = requests.Session()
        session.headers["x-goog-api-key"] = _checked_key(access.api_key)
    else:
        # google-auth repeats token requests that are throttled or fail, but not those that are cut.
        tokens = sheets_transport.session(Transport(TOKEN_HOSTS, limits, base, statuses=()))
        credentials = _credentials(access.credentials, writing, base)
        session = AuthorizedSession(credentials, auth_request=Request(tokens))  # type: ignore[no-untyped-call]
    # gspread wants no credentials beside a session that holds them
    return gspread.Client(None, sheets_transport.mounted(session, Transport(API_HOSTS, limits, base)))  # type: ignore[arg-type]


@contextmanager
def token_errors(access: Access) -> Iterator[None]:
    """Translate failures to sign in into SheetError. Answers are not quoted, since they may repeat a secret."""
    from google.auth.exceptions import GoogleAuthError, RefreshError

    try:
        yield
    except RefreshError as error:
        if error.retryable:
            raise SheetError("Google's sign-in service does not answer properly. Try again later.") from None
        raise SheetError(expired(access)) from None
    except GoogleAuthError as error:
        raise SheetError(
            f"Signing in to Google failed ({type(error).__name__}). Check the network connection and try again."
        ) from None


def expired(access: Access) -> str:
    """Return the message for credentials that Google no longer accepts."""
    path = access.credentials
    if _content(path).get("type") == "service_account":
        return (
            f"credentials={path}: Google does not accept the key of {account(access)}; it was deleted or disabled, or "
            "this machine's clock is wrong. Create a new key for the account."
        )
    return (
        f"credentials={path}: the sign-in of this user has expired or was revoked. Sign in again: "
        f"gcloud auth application-default login --scopes=openid,{_SCOPE}"
    )


def _checked_key(key: str) -> str:
    """Return the key without surrounding blanks, such as the line end of a file that it was read from."""
    key = key.strip()
    if not _API_KEY.fullmatch(key):
        raise SheetError(
            "api_key=KEY: it holds line ends or characters beyond ASCII. Copy it again from Google's console."
        )
    return key


def _content(path: str) -> dict[str, Any]:
    """Return the JSON of a key file."""
    if _SECRET.search(path):
        raise SheetError(
            "credentials=FILE: this is a secret, not the path of a key file. Store it in a file and pass its "
            "path, or pass an API key as api_key=KEY."
        )
    try:
        content = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise SheetError(
            f"credentials={path}: cannot be read ({error.strerror}). Check the path and its permissions."
        ) from None
    except (ValueError, RecursionError):  # ValueError: not JSON, not UTF-8, or a NUL byte in the path
        content = None
    return content if isinstance(content, dict) else {}


def _credentials(path: str, writing: bool, base: str) -> Any:
    from google.oauth2.credentials import Credentials
    from google.oauth2.service_account import Credentials as ServiceAccount

    from segkit.palette.sheets_transport import TOKEN_HOSTS, is_google

    kinds: dict[str, Any] = {
        "service_account": ServiceAccount.from_service_account_info,
        "authorized_user": Credentials.from_authorized_user_info,
    }
    content = _content(path)
    if "installed" in content or "web" in content:
        raise SheetError(
            f"credentials={path}: an OAuth client, not a key file. Sign in once and pass the file reported by: "
            f"gcloud auth application-default login --client-id-file={path} --scopes=openid,{_SCOPE}"
        )
    try:
        credentials = kinds[content["type"]](content, scopes=[_SCOPE if writing else f"{_SCOPE}.readonly"])
    except (ValueError, KeyError, TypeError, AttributeError):  # without the message, which could quote the secret
        raise SheetError(
            f"credentials={path}: not a key file. Expected the JSON of a service account or of an authorized user."
        ) from None
    token_uri = str(content.get("token_uri") or "")
    is_test_server = base and urlsplit(token_uri)[:2] == urlsplit(base)[:2]
    if token_uri and not is_google(token_uri, TOKEN_HOSTS) and not is_test_server:
        raise SheetError(
            f"credentials={path}: its token_uri leads to {urlsplit(token_uri).hostname}, not to Google over https. "
            "Download the key file again from Google's console."
        )
    return credentials
