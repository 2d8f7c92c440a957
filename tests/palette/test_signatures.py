"""Files that are no palette tables are called what they are."""

import io
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from segkit.errors import PaletteError
from segkit.palette import signatures, tables
from tests.conftest import Segkit


def zipped(*names: str) -> bytes:
    """Return a ZIP archive with empty members of these names."""
    content = io.BytesIO()
    with ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return content.getvalue()


def picture(kind: str) -> bytes:
    """Return a small picture as a file of this format."""
    content = io.BytesIO()
    Image.new("RGB", (3, 2)).save(content, kind)
    return content.getvalue()


SIGN_IN = "<!DOCTYPE html>\n<html lang='en'><head><title>Sign in - Google Accounts</title></head></html>"

FILES = {
    "workbook.xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook (.xlsx)"),
    "sheet.ods": (zipped("mimetype", "content.xml"), "an OpenDocument spreadsheet (.ods)"),
    "sheet.numbers": (zipped("Index/Document.iwa"), "a Numbers spreadsheet"),
    "text.docx": (zipped("[Content_Types].xml", "word/document.xml"), "a Word document (.docx)"),
    "other.csv": (zipped("a.txt"), "a ZIP archive"),
    "cut.xlsx": (zipped("xl/workbook.xml")[:40], "a damaged ZIP archive, perhaps a workbook"),
    "old.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an Excel workbook in the old format (.xls)"),
    "flat.xml.csv": (
        b'<?xml version="1.0"?>\n<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet">',
        "an Excel workbook (XML)",
    ),
    "slides.pdf": (b"%PDF-1.7\n", "a PDF document"),
    "login.csv": (SIGN_IN.encode(), signatures.WEB_PAGE),
    "marked.csv": (b"\xef\xbb\xbf\r\n\r\n" + SIGN_IN.encode(), signatures.WEB_PAGE),
    "wide.csv": (SIGN_IN.encode("utf-16"), signatures.WEB_PAGE),
    "commented.json": (b"<!-- saved from url -->\n<HTML>", signatures.WEB_PAGE),
    "xhtml.gpl": (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">', signatures.WEB_PAGE),
    "drawing.csv": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG picture"),
    "png.csv": (picture("PNG"), "a PNG picture"),
    "jpeg.csv": (picture("JPEG"), "a JPEG picture"),
    "gif.csv": (picture("GIF"), "a GIF picture"),
    "bmp.csv": (picture("BMP"), "a BMP picture"),
    "tiff.csv": (picture("TIFF"), "a TIFF picture"),
    "webp.csv": (picture("WEBP"), "a WebP picture"),
    "avif.csv": (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF or HEIC picture"),
    "packed.csv": (b"\x1f\x8b\x08\0", "a gzip archive"),
    "pointer.csv": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_table_is_called_what_it_is(folder: Path, segkit: Segkit, name: str) -> None:
    """It is named by content, whatever it is called, in one line that says how to get a table."""
    content, kind = FILES[name]
    Path(name).write_bytes(content)

    done = segkit("check-palette", name)

    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"{name}: {kind}")
    assert ", not a palette table. " in done.err


@pytest.mark.parametrize(
    ("kind", "cure"),
    [
        ("an Excel workbook (.xlsx)", "export the sheet as CSV"),
        (signatures.WEB_PAGE, "--credentials"),
        ("a PDF", "CSV"),
    ],
)
def test_the_cure_fits_the_kind(kind: str, cure: str) -> None:
    """A workbook is exported, a page is replaced by the table that it shows."""
    assert cure in signatures.cure(kind).replace("credentials=", "--credentials ")


@pytest.mark.parametrize("text", ["BM,hex\nwall,787878\n", "PK;hex\n", "name,hex\n<b>,787878\n", "<b>,787878\n", ""])
def test_tables_are_not_taken_for_something_else(tmp_path: Path, text: str) -> None:
    """Names and headings may begin like the marks of other formats."""
    assert signatures.kind(text.encode()) == ""


def test_a_large_workbook_is_called_a_workbook(tmp_path: Path) -> None:
    """Not a table that is too large."""
    content = io.BytesIO()
    with ZipFile(content, "w") as archive:
        archive.writestr("xl/media/photo.bin", bytes(5 << 20))
    (tmp_path / "large.xlsx").write_bytes(content.getvalue())

    with pytest.raises(PaletteError, match="an Excel workbook"):
        tables.read(tmp_path / "large.xlsx")
