"""Recognising files by their first bytes: what they are, and what to do with those that segkit does not read."""

from io import BytesIO

import pytest
from PIL import Image

from segkit.photos import signatures


def ftyp(major: str, *compatible: str) -> bytes:
    """Return the first box of an ISO media file with these brands."""
    body = b"ftyp" + major.encode() + bytes(4) + "".join(compatible).encode()
    return (len(body) + 4).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    "picture_format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "QOI", "AVIF", "JPEG2000"]
)
def test_pictures_are_recognised(picture_format: str) -> None:
    """The first bytes of a written picture name its format and an ending under which it is read."""
    from segkit.photos import SUFFIXES

    buffer = BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, picture_format)

    kind = signatures.readable(buffer.getvalue()[: signatures.HEAD])

    assert kind is not None
    assert kind[0].replace(" ", "").upper() == picture_format
    assert kind[1] in SUFFIXES


@pytest.mark.parametrize("text", [b"BMW is a car maker", b"P1zza", b"PNG", b"Magic", b"", b"\xff\xfeU\0T\0F\0"])
def test_texts_are_not_pictures(text: bytes) -> None:
    """Short signatures that also begin texts are not enough."""
    assert signatures.readable(text) is None


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        *((ftyp(major), "HEIC") for major in ("heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs")),
        *((ftyp(major, "mif1", "heic"), "HEIC") for major in ("mif1", "msf1", "mif2")),
        (ftyp("mif1"), "HEIC"),
        (ftyp("avif"), "AVIF"),
        (ftyp("avis", "msf1"), "AVIF"),
        (ftyp("mif1", "mif1", "miaf", "avif"), "AVIF"),
        (ftyp("msf1", "avis", "miaf"), "AVIF"),
        (ftyp("crx ", "isom"), "raw"),
        (ftyp("qt  "), "video"),
        (ftyp("isom", "iso2", "avc1"), "video"),
        (b"\xff\xd8\xff\xe0" + bytes(12), ""),
    ],
)
def test_brands_tell_heic_from_avif_and_video(head: bytes, kind: str) -> None:
    """A container brand such as mif1 says too little, so the compatible brands decide."""
    assert signatures.brand(head) == kind


@pytest.mark.parametrize(
    ("suffix", "head", "reason", "words"),
    [
        (".dng", b"II*\0\x08\0\0\0", "not-a-photo", "camera raw; convert it"),
        (".cr2", b"II*\0\x10\0\0\0CR\2\0", "not-a-photo", "camera raw; convert it"),
        ("", b"II*\0\x10\0\0\0CR\2\0", "unknown-ending", "TIFF"),
        (".nef", b"MM\0*\0\0\0\x08", "not-a-photo", "camera raw; convert it"),
        (".arw", b"unknown", "not-a-photo", "camera raw; convert it"),
        (".cr3", ftyp("crx ", "isom"), "not-a-photo", "camera raw; convert it"),
        (".raf", b"FUJIFILMCCD-RAW", "not-a-photo", "camera raw; convert it"),
        (".dng", b"\xff\xd8\xff\xe0", "unknown-ending", "rename it to end in .jpg or convert"),
        (".jxl", b"\xff\x0a", "not-a-photo", "JPEG XL; convert it"),
        (".jxl", b"\0\0\0\x0cJXL \r\n\x87\n", "not-a-photo", "JPEG XL; convert it"),
        (".jpg_large", b"\xff\xd8\xff\xe0", "unknown-ending", "ends in .jpg_large; rename it to end in .jpg"),
        ("", b"\xff\xd8\xff\xe0", "unknown-ending", "has no ending; rename it to end in .jpg"),
        (".jpg?w=1024", b"\x89PNG\r\n\x1a\n", "unknown-ending", "rename it to end in .png"),
        ("", ftyp("heic"), "unknown-ending", "holds HEIC, but its name has no ending; rename it to end in .heic"),
        (".pfm", b"PF\n64 48\n-1.0\n", "not-a-photo", "PFM; convert it"),
        (".exr", b"\x76\x2f\x31\x01", "not-a-photo", "OpenEXR; convert it"),
        (".mov", ftyp("qt  "), "other-file", "a video"),
        (".txt", b"Dear diary", "other-file", "not a picture"),
        (".pdf", b"%PDF-1.7", "other-file", "PDF"),
    ],
)
def test_files_without_a_known_ending_are_described(suffix: str, head: bytes, reason: str, words: str) -> None:
    """The message says what the file holds, and how its owner can have it read."""
    described = signatures.misnamed(suffix, head)

    assert described[0] == reason
    assert words in described[1]
