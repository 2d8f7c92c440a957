"""High dynamic range: pictures whose numbers are not sRGB but follow the PQ or HLG curve."""

import re
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO

from PIL import Image, ImageCms

_CURVES = {16: "PQ", 18: "HLG"}
"""TransferCharacteristics of ITU-T H.273."""

_WORD = re.compile(r"(?<![A-Za-z])(PQ|HLG)(?![A-Za-z])")
_STANDARD = re.compile(r"2084|(?:BT|Rec|ITU)[^0-9]{0,12}2100")  # PQ's own standard; one for both curves


def curve(image: Image.Image, data: bytes) -> str:
    """Return "PQ" or "HLG" if a picture follows such a curve; "" for all others.

    The curve is announced by the colour box of HEIC and AVIF, by the cICP chunk of PNG, or by the ICC profile.

    Args:
        image: the picture as Pillow opened it.
        data: content of the file.
    """
    code = 0
    if image.format in ("HEIF", "AVIF"):
        with suppress(IndexError, ValueError):  # damaged boxes, which the decoder judges
            code = _box_code(data)
    elif image.format == "PNG":
        code = _png_code(data)
    profile = image.info.get("icc_profile")
    return _CURVES.get(code, "") or (_profile_curve(profile) if isinstance(profile, bytes) and profile else "")


def _png_code(data: bytes) -> int:
    start = 8
    while start + 8 <= len(data) and (kind := data[start + 4 : start + 8]) != b"IDAT":
        if kind == b"cICP":
            return data[start + 9] if start + 9 < len(data) else 0
        start += 12 + int.from_bytes(data[start : start + 4], "big")
    return 0


def _profile_curve(profile: bytes) -> str:
    """Return the curve of a profile from its tag cicp (ICC.1:2022), or else from its name."""
    for start in range(132, 132 + 12 * min(int.from_bytes(profile[128:132], "big"), 100), 12):
        if profile[start : start + 4] == b"cicp":
            offset = int.from_bytes(profile[start + 4 : start + 8], "big")
            if offset + 9 < len(profile) and profile[offset + 9] in _CURVES:
                return _CURVES[profile[offset + 9]]
    if profile[12:16] == b"prtr":  # printers have names of all kinds
        return ""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return ""
    if match := _WORD.search(name):
        return match[1]
    return "PQ" if _STANDARD.search(name) else ""


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of each box (ISO/IEC 14496-12)."""
    while start + 8 <= end:
        size, kind, header = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        stop = min(start + size if size else end, end)
        if stop < start + header:
            return
        yield kind, start + header, stop
        start = stop


def _box_code(data: bytes) -> int:
    """Return the transfer characteristics of the primary picture, or of the first track of a sequence; 0: unknown."""
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            parts = {name: (first, last) for name, first, last in _boxes(data, start + 4, end)}
            if code := _item_code(data, parts):
                return code
        if kind == b"moov" and (place := data.find(b"colrnclx", start, end)) >= 0:
            return int.from_bytes(data[place + 10 : place + 12], "big")
    return 0


def _item_code(data: bytes, parts: dict[bytes, tuple[int, int]]) -> int:
    if b"iprp" not in parts:
        return 0
    properties = {kind: (start, end) for kind, start, end in _boxes(data, *parts[b"iprp"])}
    boxes = list(_boxes(data, *properties.get(b"ipco", (0, 0))))
    codes = [
        int.from_bytes(data[start + 6 : start + 8], "big") if data[start : start + 4] == b"nclx" else 0
        for _, start, _ in boxes
    ]
    colors = [index for index, (kind, _, _) in enumerate(boxes) if kind == b"colr"]
    properties_of_primary = _properties_of(data, parts.get(b"pitm"), properties.get(b"ipma"))
    # a picture made of tiles may leave its colours to them; a gain map has colours of its own, which do not count
    chosen = [index for index in colors if index in properties_of_primary] or colors[:1]
    return next((codes[index] for index in chosen if codes[index]), 0)


def _properties_of(data: bytes, primary: tuple[int, int] | None, associations: tuple[int, int] | None) -> set[int]:
    """Return the indices, from 0, of the properties of the primary picture (boxes pitm and ipma)."""
    if not primary or not associations:
        return set()
    start, _ = primary
    wanted = int.from_bytes(data[start + 4 : start + (8 if data[start] else 6)], "big")
    start, end = associations
    item_bytes, index_bytes = 4 if data[start] else 2, 2 if data[start + 3] & 1 else 1
    start += 8
    while start < end:
        item = int.from_bytes(data[start : start + item_bytes], "big")
        number = data[start + item_bytes]
        start += item_bytes + 1
        if item == wanted:
            fields = (data[start + index_bytes * i : start + index_bytes * (i + 1)] for i in range(number))
            mask = 0x7FFF if index_bytes == 2 else 0x7F  # the highest bit marks an essential property
            return {(int.from_bytes(field, "big") & mask) - 1 for field in fields}
        start += index_bytes * number
    return set()
