"""A palette table in a Google Sheet: read through Google's API or as a public sheet's CSV; findings written back."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from segkit.errors import SheetError
from segkit.palette import formats, tables
from segkit.palette.formats import Records

if TYPE_CHECKING:
    import gspread
    import requests

TIMEOUT = 20.0
"""Seconds that a request may take."""

RETRIES = 3
"""How often a request is sent again after 429 or a failure of the server, at the time it names or 1, 2, 4 s later."""

_API, _PAGES = "https://sheets.googleapis.com", "https://docs.google.com"
_KEY = re.compile(r"[\w-]{40,}", re.ASCII)
_PATH = re.compile(r"/(?:a/[^/]+/)?spreadsheets/(?:u/\d+/)?d/((?:e/)?[\w-]{20,})(?:/.*)?", re.ASCII)
_SCOPE = "https://www.googleapis.com/auth/spreadsheets"

COLUMN = "segkit findings"
"""The header of the column that findings are written to."""


@dataclass(frozen=True)
class Access:
    """How to sign in: a file of a service account or an authorized user, or an API key; "" for neither."""

    credentials: str = ""
    api_key: str = ""

    @classmethod
    def of(cls, credentials: str = "", api_key: str = "") -> "Access":
        """Fill what is not given from GOOGLE_APPLICATION_CREDENTIALS and GOOGLE_API_KEY."""
        if credentials or api_key:
            return cls(credentials, api_key)
        return cls(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", ""), os.environ.get("GOOGLE_API_KEY", ""))


@dataclass(frozen=True)
class Address:
    """One worksheet: the spreadsheet's key, and the worksheet's gid or name; "" for the first."""

    key: str
    worksheet: str = ""


def find(target: str, worksheet: str = "") -> Address | None:
    """Return the worksheet that a URL or id means, or None if it is neither.

    Args:
        target: as typed.
        worksheet: gid or name; "" takes the URL's gid, or the first worksheet.
    """
    parts = urlsplit(target)
    if parts.scheme in ("http", "https") and parts.hostname == "docs.google.com":
        match = _PATH.fullmatch(parts.path)
        if not match:
            raise SheetError(f"{target}: no address of a sheet. Expected {_PAGES}/spreadsheets/d/ID.")
        named = parse_qs(parts.fragment).get("gid") or parse_qs(parts.query).get("gid") or [""]
        return Address(match[1], worksheet or named[0])
    if _KEY.fullmatch(target) and not Path(target).exists():
        return Address(target, worksheet)
    return None


def rows(sheet: Address, access: Access) -> tuple[str, Records]:
    """Read a worksheet: through the API with credentials or an API key, else as the CSV that a public sheet gives.

    Returns:
        Its title, and the rows that are not empty, numbered as in the sheet. Every cell is the text that it shows.

    Raises:
        SheetError: it is not there, not shared, or the service does not answer; the text says what to do.
        PaletteError: the CSV is broken.
    """
    with _answering():
        if access.credentials or access.api_key:
            title, _, cells = _through_api(sheet, access)
            return title, cells
        return "sheet", formats.from_csv(_public_csv(sheet), "sheet")


def push(sheet: Address, access: Access, findings: Mapping[int, str]) -> None:
    """Write findings into a worksheet: into the column COLUMN, or a new one behind the others. No other cell changes.

    Args:
        sheet: the worksheet.
        access: with credentials that may write it.
        findings: texts by row, from 1; the column's other cells become empty. They stay text, never formulas.

    Raises:
        SheetError: it cannot be written; the text says what to do.
    """
    if not access.credentials:
        raise SheetError("--push writes to the sheet, so it needs --credentials FILE of somebody who may edit it.")
    with _answering():
        _, page, cells = _through_api(sheet, access, writing=True)
        first, header = cells[tables.header_row(cells)]
        names = [*(cell.strip() for cell in header), COLUMN]
        column, last = names.index(COLUMN) + 1, cells[-1][0]
        with _refusing():
            if column > page.col_count:
                page.add_cols(column - page.col_count)
            values = [[COLUMN], *([findings.get(line, "")] for line in range(first + 1, last + 1))]
            page.update(values, f"{_column(column)}{first}:{_column(column)}{last}", raw=True)


def _column(number: int) -> str:
    from gspread.utils import rowcol_to_a1

    return str(rowcol_to_a1(1, number)).rstrip("1")


@contextmanager
def _answering() -> Iterator[None]:
    """Turn what can go wrong on the way to the service into one line."""
    _require_library()
    import requests

    try:
        yield
    except requests.Timeout:
        raise SheetError(f"The sheet did not answer within {TIMEOUT:g} seconds. Try again later.") from None
    except requests.RequestException as error:
        raise SheetError(f"The sheet cannot be reached ({type(error).__name__}). Is this machine online?") from None


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn the service's refusals into one line."""
    import gspread

    try:
        yield
    except (gspread.exceptions.APIError, gspread.exceptions.SpreadsheetNotFound, PermissionError) as error:
        cause = error if isinstance(error, gspread.exceptions.APIError) else error.__cause__
        _refuse(getattr(getattr(cause, "response", None), "status_code", 0))


def _require_library() -> None:
    try:
        import gspread  # noqa: F401
    except ImportError:
        raise SheetError("Google Sheets need gspread: pip install 'segkit[sheets]'") from None


def _base(usual: str) -> str:
    """Return the service's address; SEGKIT_SHEETS_URL may name a stand-in, on this machine only."""
    given = os.environ.get("SEGKIT_SHEETS_URL", "")
    if not given:
        return usual
    try:
        if ip_address(urlsplit(given).hostname or "").is_loopback:
            return given.rstrip("/")
    except ValueError:
        pass
    raise SheetError(f"SEGKIT_SHEETS_URL={given}: expected an address on loopback, such as http://127.0.0.1:8000.")


def _patient(session: "requests.Session") -> "requests.Session":
    """Let a session send again what the service asks to send later."""
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    retry = Retry(
        RETRIES, read=False, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None,
        raise_on_status=False, retry_after_max=60,
    )  # fmt: skip
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _public_csv(sheet: Address) -> str:
    import requests

    if sheet.worksheet and not sheet.worksheet.isdigit():
        raise SheetError(
            f"--worksheet {sheet.worksheet}: without credentials a worksheet is found by its gid, the number at "
            "the end of its address. Or give --api-key."
        )
    published = sheet.key.startswith("e/")
    words = {"output": "csv", "single": "true"} if published else {"format": "csv"}
    words |= {"gid": sheet.worksheet} if sheet.worksheet else {}
    url = f"{_base(_PAGES)}/spreadsheets/d/{sheet.key}/{'pub' if published else 'export'}"
    with _patient(requests.Session()) as session, session.get(url, params=words, timeout=TIMEOUT, stream=True) as got:
        if got.status_code != 200 or "text/html" in got.headers.get("content-type", ""):
            _refuse(got.status_code if got.status_code != 200 else 401)
        data = got.raw.read(formats.MAX_BYTES + 1, decode_content=True)
    if len(data) > formats.MAX_BYTES:
        raise SheetError(f"The sheet holds more than {formats.MAX_BYTES:,} bytes, so it is no palette table.")
    return str(data.decode("utf-8-sig", "replace"))


def _refuse(status: int) -> None:
    reasons = {
        400: "there is no such worksheet. Expected the gid at the end of its address",
        401: "it is not shared with everybody. Share it by its link, or give --credentials FILE",
        403: "these credentials may not read it, or not write it. Share the sheet with them, to write as an editor",
        404: "there is no such sheet. Look at its address",
        429: "too many requests. Wait a minute and try again",
    }
    raise SheetError(f"The sheet was not handed out ({status}): {reasons.get(status, 'try again later')}.")


def _through_api(sheet: Address, access: Access, writing: bool = False) -> tuple[str, "gspread.Worksheet", Records]:
    """Return the spreadsheet's title, the worksheet and its rows."""
    if sheet.key.startswith("e/"):
        raise SheetError("A published address (/d/e/...) is read without credentials. Leave them out.")
    with _refusing():
        book = _client(access, writing).open_by_key(sheet.key)
        page = _page(book, sheet.worksheet)
        cells = page.get_all_values()
    found = [(line, [str(cell) for cell in row]) for line, row in enumerate(cells, 1)]
    return book.title, page, [(line, row) for line, row in found if any(cell.strip() for cell in row)]


def _page(book: "gspread.Spreadsheet", worksheet: str) -> "gspread.Worksheet":
    pages = book.worksheets()
    for page in pages:
        if worksheet in ("", page.title, str(page.id)):
            return page
    raise SheetError(f"{worksheet!r} is no worksheet. There are: {', '.join(page.title for page in pages)}.")


def _client(access: Access, writing: bool) -> "gspread.Client":
    import gspread

    base = _base(_API)

    class Http(gspread.HTTPClient):
        def request(self, method: Any, endpoint: str, *args: Any, **kwargs: Any) -> Any:
            return super().request(method, endpoint.replace(_API, base, 1), *args, **kwargs)

    if access.api_key:
        client = gspread.api_key(access.api_key, http_client=Http)
    else:
        client = gspread.authorize(_credentials(Path(access.credentials), writing), http_client=Http)
    _patient(client.http_client.session)
    client.set_timeout(TIMEOUT)
    return client


def _credentials(path: Path, writing: bool) -> Any:
    import json

    from google.oauth2.credentials import Credentials
    from google.oauth2.service_account import Credentials as ServiceAccount

    kinds: dict[str, Any] = {
        "service_account": ServiceAccount.from_service_account_info,
        "authorized_user": Credentials.from_authorized_user_info,
    }
    try:
        content = json.loads(path.read_text("utf-8"))
        if "installed" in content or "web" in content:
            raise SheetError(
                f"--credentials {path}: an OAuth client, no key. Sign in once, and give the file that this names: "
                f"gcloud auth application-default login --client-id-file={path} --scopes=openid,{_SCOPE}"
            )
        return kinds[content["type"]](content, scopes=[_SCOPE if writing else f"{_SCOPE}.readonly"])
    except OSError as error:
        raise SheetError(f"--credentials {path}: cannot be read ({error.strerror}).") from None
    except (ValueError, KeyError, TypeError):  # never the content: it is a secret
        raise SheetError(
            f"--credentials {path}: no key file. Expected the JSON of a service account or of an authorized user."
        ) from None
