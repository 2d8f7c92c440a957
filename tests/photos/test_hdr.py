"""High dynamic range is refused by name and never taken for sRGB."""

import struct
import zlib
from io import BytesIO
from typing import Any

import pillow_heif
import pytest
from PIL import ImageCms

from segkit import photos
from segkit.errors import PhotoError
from segkit.photos import Limits
from segkit.toy import world

LIMITS = Limits(min_size=8)
PHOTO = world.scene(1, (128, 96)).photo
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encode(picture_format: str, **options: Any) -> bytes:
    """Return a photo as the bytes of a file."""
    pillow_heif.register_heif_opener()
    buffer = BytesIO()
    PHOTO.save(buffer, picture_format, **options)
    return buffer.getvalue()


def heic(transfer: int, **options: Any) -> bytes:
    """Return a HEIC whose colour box names a transfer curve."""
    return encode("HEIF", color_primaries=9, transfer_characteristics=transfer, matrix_coefficients=9, **options)


def avif(transfer: int, brand: bytes = b"avif") -> bytes:
    """Return an AVIF whose colour box names a transfer curve."""
    data = encode("AVIF")
    place = data.index(b"colrnclx") + 8
    data = data[:place] + struct.pack(">HH", 9, transfer) + data[place + 4 :]
    return data[:8] + brand + data[12:]


def avif_sequence(transfer: int) -> bytes:
    """Return an animated AVIF whose colour boxes all name a transfer curve."""
    frames = [world.scene(seed, (128, 96)).photo for seed in (2, 3)]
    data = bytearray(encode("AVIF", save_all=True, append_images=frames))
    place = -1
    while (place := data.find(b"colrnclx", place + 1)) >= 0:
        data[place + 10 : place + 12] = struct.pack(">H", transfer)
    return bytes(data)


def png(transfer: int) -> bytes:
    """Return a PNG with a cICP chunk."""
    data, chunk = encode("PNG"), b"cICP" + bytes([9, transfer, 0, 1])
    chunk = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + chunk + data[33:]


def profile(name: str) -> bytes:
    """Return an sRGB profile under another name of at most 30 characters."""
    start = SRGB.index("sRGB built-in".encode("utf-16-be"))
    return SRGB[:start] + name.ljust(13)[:13].encode("utf-16-be") + SRGB[start + 26 :]


def cicp_profile(transfer: int) -> bytes:
    """Return an sRGB profile whose first tag is replaced by cicp."""
    return (
        SRGB[:132]
        + b"cicp"
        + struct.pack(">II", len(SRGB), 12)
        + SRGB[144:]
        + b"cicp"
        + bytes([0] * 4 + [9, transfer, 0, 1])
    )


@pytest.mark.parametrize(
    ("data", "curve"),
    [
        (heic(16), "PQ"),
        (heic(18), "HLG"),
        (avif(16), "PQ"),
        (avif(18), "HLG"),
        (avif(16, b"mif1"), "PQ"),
        (avif_sequence(18), "HLG"),
        (png(16), "PQ"),
        (png(18), "HLG"),
        (encode("JPEG", icc_profile=profile("Rec2020 PQ")), "PQ"),
        (encode("PNG", icc_profile=profile("BT.2100 HLG")), "HLG"),
        (encode("WEBP", icc_profile=profile("P3_HLG")), "HLG"),
        (encode("TIFF", icc_profile=profile("SMPTE ST2084")), "PQ"),
        (encode("AVIF", icc_profile=cicp_profile(16)), "PQ"),
        (encode("HEIF", icc_profile=cicp_profile(18)), "HLG"),
    ],
    ids="heic heic-HLG avif avif-HLG mif1 avis png png-HLG jpeg-ICC png-ICC webp-ICC tiff-ICC avif-ICC hif-ICC".split(),
)
def test_hdr_is_refused_by_its_curve(data: bytes, curve: str) -> None:
    """PQ and HLG, in a colour box, a chunk or an ICC profile, are named with a cure."""
    with pytest.raises(PhotoError, match=f"with the {curve} curve; convert it to SDR") as refused:
        photos.open_photo(data, LIMITS)

    assert refused.value.reason == "hdr"


@pytest.mark.parametrize(
    "data",
    [
        heic(1),
        heic(13),
        avif(1),
        avif(13),
        avif_sequence(13),
        png(13),
        encode("JPEG", icc_profile=SRGB),
        encode("JPEG", icc_profile=profile("Epson 2100")),
        encode("PNG", icc_profile=cicp_profile(13)),
        encode("AVIF", icc_profile=SRGB),
    ],
    ids="heic-709 heic-sRGB avif-709 avif-sRGB avis-sRGB png-sRGB icc printer cicp-sRGB icc-avif".split(),
)
def test_ordinary_curves_are_accepted(data: bytes) -> None:
    """Colour boxes and profiles of standard dynamic range are no reason to refuse a photo."""
    assert photos.open_photo(data, LIMITS).image.size == (128, 96)


def test_the_colours_of_a_gain_map_do_not_count() -> None:
    """A photo for all screens carries its HDR version as a second picture with a colour box of its own."""
    data = avif(13)
    place = data.index(b"ipco") - 4
    size = struct.unpack(">I", data[place : place + 4])[0]
    box = struct.pack(">I", 19) + b"colrnclx" + struct.pack(">HHHB", 9, 16, 9, 0x80)
    grown = bytearray(data[: place + size] + box + data[place + size :])
    for name in (b"ipco", b"iprp", b"meta"):
        start = grown.index(name) - 4
        grown[start : start + 4] = struct.pack(">I", struct.unpack(">I", grown[start : start + 4])[0] + len(box))
    start = grown.index(b"iloc") + 4 + 16  # the offset of the only extent
    old = struct.unpack(">I", grown[start - 2 : start + 2])[0]
    assert old == data.index(b"mdat") + 4
    grown[start - 2 : start + 2] = struct.pack(">I", old + len(box))

    assert photos.open_photo(bytes(grown), LIMITS).image.size == (128, 96)
