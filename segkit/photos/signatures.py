"""What a file is by its first bytes: pictures that segkit does not read, or whose names do not say what they hold."""

HEAD = 64
"""Bytes to read from the beginning of a file to recognise it."""

RAW_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 "
    ".rwl .sr2 .srf .srw .x3f".split()
)

_CONVERT = "convert it to JPEG, PNG or TIFF"
_RAW = f"camera raw; {_CONVERT}, for example with darktable-cli or RawTherapee"

_READABLE = (
    (b"\xff\xd8\xff", "JPEG", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", "PNG", ".png"),
    (b"GIF8", "GIF", ".gif"),
    (b"II*\0", "TIFF", ".tif"),
    (b"MM\0*", "TIFF", ".tif"),
    (b"II+\0", "TIFF", ".tif"),
    (b"MM\0+", "TIFF", ".tif"),
    (b"8BPS", "PSD", ".psd"),
    (b"qoif", "QOI", ".qoi"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", ".jp2"),
    (b"\xff\x4f\xff\x51", "JPEG 2000", ".j2k"),
)
"""First bytes, format and usual ending of the formats that segkit reads and that have a distinctive signature."""

_UNREADABLE = (
    (b"\xff\x0a", f"JPEG XL; {_CONVERT}, for example with djxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", f"JPEG XL; {_CONVERT}, for example with djxl"),
    (b"IIRO", _RAW),
    (b"IIRS", _RAW),
    (b"MMOR", _RAW),
    (b"IIU\0", _RAW),
    (b"FUJIFILM", _RAW),
    (b"FOVb", _RAW),
    (b"\0MRM", _RAW),
    (b"\x76\x2f\x31\x01", f"OpenEXR; {_CONVERT}"),
    (b"#?RADIANCE", f"Radiance HDR; {_CONVERT}"),
    (b"#?RGBE", f"Radiance HDR; {_CONVERT}"),
    (b"PF\n", f"PFM; {_CONVERT}"),
    (b"Pf\n", f"PFM; {_CONVERT}"),
    (b"SIMPLE  =", f"FITS; {_CONVERT}"),
    (b"II\xbc\x01", f"JPEG XR; {_CONVERT}"),
    (b"BPG\xfb", f"BPG; {_CONVERT}"),
    (b"DDS ", f"a DDS texture; {_CONVERT}"),
    (b"\0\0\1\0", "an icon, not a photo"),
    (b"%!PS", f"PostScript; {_CONVERT}"),
    (b"%PDF", f"PDF; {_CONVERT}"),
    (b"version https://git-lfs", "a Git LFS pointer. Run: git lfs pull"),
    (b"<", "text that begins with '<' (a saved web page?)"),
)
"""First bytes of other pictures, and of what is often mistaken for one, and what to say about them."""

_HEIF_BRANDS = frozenset("heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 miaf".split())
_AVIF_BRANDS = frozenset("avif avis avio".split())


def brand(head: bytes) -> str:
    """Return the kind of an ISO media file by its brands: "HEIC", "AVIF", "raw", "JPEG XL", "video"; "" for others.

    The major brand mif1 or msf1 says only that there is a picture or a sequence, so the compatible brands decide.
    Source: ISO/IEC 23008-12, annex B, and the AV1 Image File Format.
    """
    if head[4:8] != b"ftyp":
        return ""
    size = int.from_bytes(head[:4], "big")
    listed = head[8:12] + head[16 : min(max(size, 16), len(head))]
    brands = [listed[start : start + 4].decode("latin-1") for start in range(0, len(listed), 4)]
    kinds = ((_AVIF_BRANDS, "AVIF"), (_HEIF_BRANDS, "HEIC"), ({"crx "}, "raw"), ({"jxl "}, "JPEG XL"))
    coded = [name for name in brands if name not in ("mif1", "mif2", "msf1", "miaf")]
    for name in (*coded, *brands):
        for known, kind in kinds:
            if name in known:
                return kind
    return "video"


def readable(head: bytes) -> tuple[str, str] | None:
    """Return format and usual ending if the bytes begin a picture of a format that segkit reads; None for others."""
    kind = brand(head)
    if kind in ("HEIC", "AVIF"):
        return kind, f".{kind.lower()}"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP", ".webp"
    if head[:2] == b"BM" and head[6:10] == bytes(4):  # two letters alone also begin texts
        return "BMP", ".bmp"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM", ".ppm"
    return next(((name, suffix) for start, name, suffix in _READABLE if head.startswith(start)), None)


def unreadable(head: bytes) -> str:
    """Return what a file is that segkit does not read, and what to do about it; "" if its signature is unknown."""
    if head[:2] == b"II" and head[8:10] == b"CR":
        return _RAW
    kind = brand(head)
    if kind == "raw":
        return _RAW
    if kind == "JPEG XL":
        return f"JPEG XL; {_CONVERT}, for example with djxl"
    if kind == "video":
        return "a video, not a photo"
    return next((meaning for start, meaning in _UNREADABLE if head.startswith(start)), "")


def misnamed(suffix: str, head: bytes) -> tuple[str, str]:
    """Say what a file without the ending of a photo holds.

    Args:
        suffix: its ending with the dot, in lower case; "" if it has none.
        head: its first HEAD bytes.

    Returns:
        A reason of photos.REASONS ("unknown-ending", "not-a-photo" or "other-file"), and a message with the cure.
    """
    content = readable(head)
    if suffix in RAW_SUFFIXES and (content is None or content[0] == "TIFF"):  # most raw formats are TIFFs inside
        return "not-a-photo", _RAW
    if content:
        ending = f"ends in {suffix}" if suffix else "has no ending"
        also = " or convert the original" if suffix in RAW_SUFFIXES or suffix == ".jxl" else ""
        return "unknown-ending", f"holds {content[0]}, but its name {ending}; rename it to end in {content[1]}{also}"
    meaning = unreadable(head)
    if suffix == ".jxl" and not meaning:
        meaning = f"JPEG XL; {_CONVERT}, for example with djxl"
    is_picture = _CONVERT in meaning and not meaning.startswith(("PDF", "PostScript"))
    return ("not-a-photo", meaning) if is_picture else ("other-file", meaning or "not a picture")
