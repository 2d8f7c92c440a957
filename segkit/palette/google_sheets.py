"""Palette tables in Google Sheets: read by API or as the CSV export of a public sheet; findings are written back."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from segkit.errors import SheetError
from segkit.palette import columns, formats, sheets_access, signatures
from segkit.palette.columns import Records
from segkit.palette.sheets_access import Access

if TYPE_CHECKING:
    import gspread

    from segkit.palette.sheets_transport import Limits

__all__ = ["COLUMN", "RETRIES", "TIMEOUT", "Access", "Address", "find", "push", "rows"]

TIMEOUT = 20.0
"""Seconds that a request may take, from connecting to the last byte of the answer."""

RETRIES = 3
"""Retries of a request that fails in a way that may pass; see `sheets_transport.Limits`."""

_PAGES = "https://docs.google.com"
_KEY = re.compile(r"[\w-]{40,}", re.ASCII)
_PATH = re.compile(r"/(?:a/[^/]+/)?spreadsheets/(?:u/\d+/)?d/((?:e/)?[\w-]{20,})(?:/.*)?", re.ASCII)

COLUMN = "segkit findings"
"""Header of the column that findings are written to."""


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
    if access.credentials or access.api_key:
        with _errors(sheet, access):
            title, _, records = _through_api(sheet, access)
            return title, records
    return "sheet", formats.from_csv(_public_csv(sheet), "sheet", by_row=True)


def push(sheet: Address, access: Access, findings: Mapping[int, str]) -> None:
    """Write findings into the column COLUMN of a worksheet, or into a new column after the last. No other cell changes.

    Args:
        sheet: the worksheet.
        access: credentials with permission to edit it.
        findings: text by row number, from 1; the other cells of the column are cleared. Values are stored as text,
            never as formulas.

    Raises:
        SheetError: there are no credentials, or the sheet has no heading row or cannot be written; the message states
            the cure.
    """
    if not access.credentials:
        raise SheetError("Writing to the sheet needs credentials=FILE of an account that may edit it.")
    with _errors(sheet, access):
        _, worksheet, records = _through_api(sheet, access, writing=True)
        position = columns.heading_row(records)
        if position is None:
            raise SheetError(
                "The sheet has no heading row, which the column of findings needs. Insert a row such as "
                "index, name, r, g, b above the first class."
            )
        first, header = records[position]
        headings = [*(cell.strip() for cell in header), COLUMN]
        column, last = headings.index(COLUMN) + 1, records[-1][0]
        if column > worksheet.col_count:
            worksheet.add_cols(column - worksheet.col_count)
        values = [[COLUMN], *([findings.get(line, "")] for line in range(first + 1, last + 1))]
        # raw: the API would otherwise interpret a text that begins with "=" as a formula
        letters = columns.letters(column)
        worksheet.update(values, f"{letters}{first}:{letters}{last}", raw=True)


def _limits() -> "Limits":
    from segkit.palette.sheets_transport import Limits

    return Limits(TIMEOUT, RETRIES, formats.MAX_BYTES)


@contextmanager
def _errors(sheet: Address, access: Access) -> Iterator[None]:
    """Translate refusals of the API and of the sign-in, and answers that are not JSON, into SheetError."""
    import gspread
    import requests

    try:
        with sheets_access.token_errors(access):
            yield
    except (gspread.exceptions.APIError, gspread.exceptions.SpreadsheetNotFound, PermissionError) as error:
        cause = error if isinstance(error, gspread.exceptions.APIError) else error.__cause__
        response = getattr(cause, "response", None)
        raise _refusal(getattr(response, "status_code", 0), sheet, access, _reasons(response)) from None
    except (requests.exceptions.JSONDecodeError, KeyError):
        raise SheetError(
            "Google Sheets sent an answer that is not its JSON. Check that the network does not answer in its place "
            "(a sign-in page, a proxy), and try again."
        ) from None
    except requests.RequestException as error:
        raise SheetError(
            f"Google Sheets cannot be reached ({type(error).__name__}). Check the network connection and try again."
        ) from None


def _public_csv(sheet: Address) -> str:
    import requests

    from segkit.palette import sheets_transport
    from segkit.palette.sheets_transport import SHEET_HOSTS, ForeignHostError, Transport

    if sheet.worksheet and not sheet.worksheet.isdigit():
        raise SheetError(
            f"worksheet={sheet.worksheet}: without credentials a worksheet can only be found by its gid, the number "
            "at the end of its address. Use the gid, or pass api_key=KEY."
        )
    published = sheet.key.startswith("e/")
    params = {"output": "csv", "single": "true"} if published else {"format": "csv"}
    params |= {"gid": sheet.worksheet} if sheet.worksheet else {}
    url = f"{_PAGES}/spreadsheets/d/{sheet.key}/{'pub' if published else 'export'}"
    access = Access()
    transport = Transport(SHEET_HOSTS, _limits(), sheets_access.base_url())
    try:
        with sheets_transport.session(transport) as session:
            response = session.get(url, params=params)
    except ForeignHostError as error:
        if error.host == "accounts.google.com":  # the sign-in page
            raise _refusal(401, sheet, access) from None
        raise
    except requests.RequestException as error:
        raise SheetError(
            f"Google Sheets cannot be reached ({type(error).__name__}). Check the network connection and try again."
        ) from None
    if response.status_code != 200:
        raise _refusal(response.status_code, sheet, access)
    data: bytes = response.content
    # Google answers requests for a private sheet with status 200 and an HTML sign-in page.
    if "text/html" in response.headers.get("content-type", "") or signatures.kind(data) == signatures.WEB_PAGE:
        raise _refusal(401, sheet, access)
    return data.decode("utf-8-sig", "replace")


def _reasons(response: Any) -> set[str]:
    """Return the machine-readable reasons in an error of the API, such as PERMISSION_DENIED or API_KEY_INVALID."""
    try:
        error = response.json()["error"]
        return {error.get("status", ""), *(detail.get("reason", "") for detail in error.get("details", []))}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()


def _refusal(
    status: int, sheet: Address, access: Access, reasons: set[str] | frozenset[str] = frozenset()
) -> SheetError:
    """Return the error for a refused request.

    Args:
        status: HTTP status code.
        sheet: the worksheet of the request.
        access: how it was signed in.
        reasons: see `_reasons`; they tell apart refusals of one status.
    """
    for reason, text in _BY_REASON.items():
        if reason in reasons:
            return SheetError(f"Google Sheets refused the request ({status}): {text}.")
    if status == 401 and access.credentials and not access.api_key:
        return SheetError(f"Google Sheets refused the request (401). {sheets_access.expired(access)}")
    who = sheets_access.account(access)
    share = f"Share the sheet with {who}, to write as an editor"
    if not access.credentials or access.api_key:
        share = "Share it by link with everybody, or pass credentials=FILE of an account that may read it"
    texts = {
        400: "no such worksheet. Use the gid at the end of its address",
        401: "the sheet is not shared with everybody. Share it by link, or pass credentials=FILE",
        403: f"{who} has no permission to read or write it. {share}",
        404: f"there is no such sheet, {sheet.key}. Check its address",
        429: "too many requests. Wait a minute and try again",
    }
    return SheetError(f"Google Sheets refused the request ({status}): {texts.get(status, 'try again later')}.")


_BY_REASON = {
    "API_KEY_INVALID": "the API key is not valid. Copy it again from Google's console",
    "API_KEY_SERVICE_BLOCKED": "the API key is restricted to other services. Allow the Google Sheets API for it",
    "SERVICE_DISABLED": "the Google Sheets API is not enabled in the project of the credentials. Enable it in Google's "
    "console",
    "FAILED_PRECONDITION": "the file is an Excel workbook, not a Google Sheet. Open it and save it as Google Sheets",
}
"""Cures by the reasons that the API gives."""


def _through_api(sheet: Address, access: Access, writing: bool = False) -> tuple[str, "gspread.Worksheet", Records]:
    """Return the title of the spreadsheet, the worksheet and its non-empty rows."""
    if sheet.key.startswith("e/"):
        raise SheetError("A published address (/d/e/...) works only without credentials. Leave them out.")
    spreadsheet = sheets_access.client(access, _limits(), writing).open_by_key(sheet.key)
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
