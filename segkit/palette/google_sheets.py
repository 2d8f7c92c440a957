"""Palette tables in Google Sheets: read by API or as the CSV export of a public sheet; findings are written back."""

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
"""Seconds before a request is abandoned."""

RETRIES = 3
"""Retries after status 429 or a server error, after the delay in Retry-After, else 0, 2 and 4 seconds."""

_API, _PAGES = "https://sheets.googleapis.com", "https://docs.google.com"
_KEY = re.compile(r"[\w-]{40,}", re.ASCII)
_PATH = re.compile(r"/(?:a/[^/]+/)?spreadsheets/(?:u/\d+/)?d/((?:e/)?[\w-]{20,})(?:/.*)?", re.ASCII)
_SCOPE = "https://www.googleapis.com/auth/spreadsheets"

COLUMN = "segkit findings"
"""Header of the column that findings are written to."""


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


@dataclass(frozen=True)
class Address:
    """One worksheet of a spreadsheet.

    Attributes:
        key: key of the spreadsheet; "e/..." for one that is published to the web.
        worksheet: gid or title; "" for the first worksheet.
    """

    key: str
    worksheet: str = ""


def find(target: str, worksheet: str = "") -> Address | None:
    """Parse the URL or id of a Google Sheet.

    Args:
        target: what the user typed.
        worksheet: gid or title; "" uses the gid in the URL, or the first worksheet.

    Returns:
        The worksheet, or None if the target is neither a Google Sheets URL nor an id.

    Raises:
        SheetError: the URL points to docs.google.com, but not to a sheet.
    """
    parts = urlsplit(target)
    if parts.scheme in ("http", "https") and parts.hostname == "docs.google.com":
        match = _PATH.fullmatch(parts.path)
        if not match:
            raise SheetError(f"{target}: not the address of a Google Sheet. Expected {_PAGES}/spreadsheets/d/ID.")
        gids = parse_qs(parts.fragment).get("gid") or parse_qs(parts.query).get("gid") or [""]
        return Address(match[1], worksheet or gids[0])
    if _KEY.fullmatch(target) and not Path(target).exists():
        return Address(target, worksheet)
    return None


def rows(sheet: Address, access: Access) -> tuple[str, Records]:
    """Read a worksheet: through the API with credentials or an API key, otherwise as the CSV export of a public sheet.

    Returns:
        The title of the spreadsheet ("sheet" for a CSV export), and the non-empty rows with their row numbers. Cells
        hold the text that the sheet displays.

    Raises:
        SheetError: the sheet is missing or not shared, or the service does not answer; the message states the cure.
        PaletteError: the CSV is malformed.
    """
    with _network_errors():
        if access.credentials or access.api_key:
            title, _, records = _through_api(sheet, access)
            return title, records
        return "sheet", formats.from_csv(_public_csv(sheet), "sheet")


def push(sheet: Address, access: Access, findings: Mapping[int, str]) -> None:
    """Write findings into the column COLUMN of a worksheet, or into a new column after the last. No other cell changes.

    Args:
        sheet: the worksheet.
        access: credentials with permission to edit it.
        findings: text by row number, from 1; the other cells of the column are cleared. Values are stored as text,
            never as formulas.

    Raises:
        SheetError: there are no credentials, or the sheet cannot be written; the message states the cure.
    """
    if not access.credentials:
        raise SheetError("Writing to the sheet needs credentials=FILE of an account that may edit it.")
    with _network_errors():
        _, worksheet, records = _through_api(sheet, access, writing=True)
        first, header = records[tables.header_row(records)]
        headings = [*(cell.strip() for cell in header), COLUMN]
        column, last = headings.index(COLUMN) + 1, records[-1][0]
        with _api_errors():
            if column > worksheet.col_count:
                worksheet.add_cols(column - worksheet.col_count)
            values = [[COLUMN], *([findings.get(line, "")] for line in range(first + 1, last + 1))]
            # raw: the API would otherwise interpret a text that begins with "=" as a formula
            worksheet.update(values, f"{_letters(column)}{first}:{_letters(column)}{last}", raw=True)


def _letters(number: int) -> str:
    """Return the letters of a column, numbered from 1."""
    from gspread.utils import rowcol_to_a1

    return str(rowcol_to_a1(1, number)).rstrip("1")


@contextmanager
def _network_errors() -> Iterator[None]:
    """Translate errors of the connection into SheetError."""
    import requests

    try:
        yield
    except requests.Timeout:
        raise SheetError(f"Google Sheets did not answer within {TIMEOUT:g} seconds. Try again later.") from None
    except requests.RequestException as error:
        raise SheetError(
            f"Google Sheets cannot be reached ({type(error).__name__}). Check the network connection and try again."
        ) from None


@contextmanager
def _api_errors() -> Iterator[None]:
    """Translate refusals of the API into SheetError."""
    import gspread

    try:
        yield
    except (gspread.exceptions.APIError, gspread.exceptions.SpreadsheetNotFound, PermissionError) as error:
        cause = error if isinstance(error, gspread.exceptions.APIError) else error.__cause__
        _refuse(getattr(getattr(cause, "response", None), "status_code", 0))


def _base(default: str) -> str:
    """Return the base URL of the service, or a test server named by SEGKIT_SHEETS_URL.

    Only loopback addresses are accepted, so that the variable cannot send credentials to another machine.
    """
    url = os.environ.get("SEGKIT_SHEETS_URL", "")
    if not url:
        return default
    try:
        if ip_address(urlsplit(url).hostname or "").is_loopback:
            return url.rstrip("/")
    except ValueError:
        pass
    raise SheetError(f"SEGKIT_SHEETS_URL={url}: expected an address on loopback, such as http://127.0.0.1:8000.")


def _with_retries(session: "requests.Session") -> "requests.Session":
    """Retry requests that the service throttles or fails to serve."""
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
            f"worksheet={sheet.worksheet}: without credentials a worksheet can only be found by its gid, the number "
            "at the end of its address. Use the gid, or pass api_key=KEY."
        )
    published = sheet.key.startswith("e/")
    params = {"output": "csv", "single": "true"} if published else {"format": "csv"}
    params |= {"gid": sheet.worksheet} if sheet.worksheet else {}
    url = f"{_base(_PAGES)}/spreadsheets/d/{sheet.key}/{'pub' if published else 'export'}"
    with (
        _with_retries(requests.Session()) as session,
        session.get(url, params=params, timeout=TIMEOUT, stream=True) as response,
    ):
        # Google answers requests for a private sheet with status 200 and an HTML sign-in page.
        if response.status_code != 200 or "text/html" in response.headers.get("content-type", ""):
            _refuse(response.status_code if response.status_code != 200 else 401)
        data = response.raw.read(formats.MAX_BYTES + 1, decode_content=True)
    if len(data) > formats.MAX_BYTES:
        raise SheetError(f"The sheet holds more than {formats.MAX_BYTES:,} bytes, too much for a palette table.")
    return str(data.decode("utf-8-sig", "replace"))


def _refuse(status: int) -> None:
    reasons = {
        400: "no such worksheet. Use the gid at the end of its address",
        401: "the sheet is not shared with everybody. Share it by link, or pass credentials=FILE",
        403: "the credentials lack permission to read or write it. Share the sheet with them, to write as an editor",
        404: "no such sheet. Check its address",
        429: "too many requests. Wait a minute and try again",
    }
    raise SheetError(f"Google Sheets refused the request ({status}): {reasons.get(status, 'try again later')}.")


def _through_api(sheet: Address, access: Access, writing: bool = False) -> tuple[str, "gspread.Worksheet", Records]:
    """Return the title of the spreadsheet, the worksheet and its non-empty rows."""
    if sheet.key.startswith("e/"):
        raise SheetError("A published address (/d/e/...) works only without credentials. Leave them out.")
    with _api_errors():
        spreadsheet = _client(access, writing).open_by_key(sheet.key)
        worksheet = _worksheet(spreadsheet, sheet.worksheet)
        values = worksheet.get_all_values()
    records = [(line, [str(cell) for cell in row]) for line, row in enumerate(values, 1)]
    return spreadsheet.title, worksheet, [(line, row) for line, row in records if any(cell.strip() for cell in row)]


def _worksheet(spreadsheet: "gspread.Spreadsheet", name: str) -> "gspread.Worksheet":
    worksheets = spreadsheet.worksheets()
    for worksheet in worksheets:
        if name in ("", worksheet.title, str(worksheet.id)):
            return worksheet
    titles = ", ".join(worksheet.title for worksheet in worksheets)
    raise SheetError(f"{name!r} is not a worksheet of this sheet. Expected one of: {titles}.")


def _client(access: Access, writing: bool) -> "gspread.Client":
    import gspread

    base = _base(_API)

    class Http(gspread.HTTPClient):  # gspread has no setting for the base URL
        def request(self, method: Any, endpoint: str, *args: Any, **kwargs: Any) -> Any:
            return super().request(method, endpoint.replace(_API, base, 1), *args, **kwargs)

    if access.api_key:
        client = gspread.api_key(access.api_key, http_client=Http)
    else:
        client = gspread.authorize(_credentials(Path(access.credentials), writing), http_client=Http)
    _with_retries(client.http_client.session)
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
                f"credentials={path}: an OAuth client, not a key file. Sign in once and pass the file reported by: "
                f"gcloud auth application-default login --client-id-file={path} --scopes=openid,{_SCOPE}"
            )
        return kinds[content["type"]](content, scopes=[_SCOPE if writing else f"{_SCOPE}.readonly"])
    except OSError as error:
        raise SheetError(
            f"credentials={path}: cannot be read ({error.strerror}). Check the path and its permissions."
        ) from None
    except (ValueError, KeyError, TypeError):  # without the original message, which could quote the secret
        raise SheetError(
            f"credentials={path}: not a key file. Expected the JSON of a service account or of an authorized user."
        ) from None
