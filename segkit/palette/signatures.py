"""What a file is that was passed as a palette table but is none: a workbook, a web page, a picture ..."""

import io
import re
from zipfile import BadZipFile, ZipFile

WEB_PAGE = "a web page (HTML), perhaps a sign-in page"

_BEGINNINGS = {
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an Excel workbook in the old format (.xls), or another Office document",
    b"{\\rtf": "an RTF document",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"8BPS": "a Photoshop document",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"SQLite format 3": "an SQLite database",
    b"PAR1": "a Parquet file",
    b"ASEF": "an Adobe swatch file (.ase)",
    b"version https://git-lfs": "a Git LFS pointer, which stands for a file that was not downloaded",
}

_IN_ZIP = {
    "xl/": "an Excel workbook (.xlsx)",
    "word/": "a Word document (.docx)",
    "Index/": "a Numbers spreadsheet",
    "content.xml": "an OpenDocument spreadsheet (.ods)",
}
"""Members by which formats that are ZIP archives are recognised."""

_SHEETS = ("workbook", "spreadsheet")


def kind(data: bytes) -> str:
    """Return what the content of a file is, as a noun with its article; "" if it may be a table.

    Args:
        data: the content; of a long file, its beginning suffices except to tell apart ZIP archives.
    """
    if data.startswith(b"PK\x03\x04"):
        return _zipped(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP picture"
    if data[4:8] == b"ftyp":
        return "an AVIF or HEIC picture, or a video"
    for beginning, name in _BEGINNINGS.items():
        # two letters may begin a table; the header of a BMP continues with its size and zeros
        if data.startswith(beginning) and (beginning != b"BM" or data[6:10] == bytes(4)):
            return name
    return _marked_up(data)


def cure(name: str) -> str:
    """Return how to get a table from a file of this kind.

    Args:
        name: as returned by `kind`.
    """
    if name == WEB_PAGE:
        return "Download the table itself, as CSV; a private Google Sheet is read by its address with credentials=FILE."
    if any(word in name for word in _SHEETS):
        return "Open it and export the sheet as CSV UTF-8."
    return "Expected a table as CSV, TSV, Markdown, JSON or GIMP palette (.gpl)."


def _zipped(data: bytes) -> str:
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except (BadZipFile, ValueError, OSError):
        return "a damaged ZIP archive, perhaps a workbook (.xlsx, .ods)"
    return next(
        (format_ for prefix, format_ in _IN_ZIP.items() if any(name.startswith(prefix) for name in names)),
        "a ZIP archive",
    )


def _marked_up(data: bytes) -> str:
    """Recognise HTML and XML, in UTF-8 or UTF-16, behind byte-order marks, blank lines and comments."""
    text = data[:4096].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").decode("latin-1").lower()
    text = re.sub(r"^(<!--.*?-->\s*)+", "", text, flags=re.DOTALL)
    if re.match(r"<(!doctype html|html|head|body|script|table|meta|title|div)\b", text):
        return WEB_PAGE
    if not text.startswith("<?xml") and not text.startswith("<svg"):
        return ""
    formats = {"<html": WEB_PAGE, "<svg": "an SVG picture", "spreadsheet": "an Excel workbook (XML)"}
    return next((name for mark, name in formats.items() if mark in text), "an XML document")
