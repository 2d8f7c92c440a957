"""segkit.build.intake: every photo found gets exactly one fate, in a stable order."""

import hashlib
import os
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from PIL import ImageOps

from segkit import photos
from segkit.build import intake
from segkit.build.intake import Arrival, Candidate, Loaded, Memory
from segkit.dataset import Rejection
from segkit.photos import Limits
from segkit.toy import world

LIMITS = Limits(min_size=64, size=64)


def take(folder: Path, keep_duplicates: bool = False) -> list[Arrival]:
    """Return what becomes of every photo in a folder that no dataset knows."""
    return list(intake.arrivals(folder, list(photos.find(folder)), LIMITS, Memory(None, keep_duplicates)))


def fates(arrivals: list[Arrival]) -> dict[str, str]:
    """Return source -> reason, "new" for a candidate."""
    return {a.source: a.reason if isinstance(a, Rejection) else "new" for a in arrivals}


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Two photos, a byte-identical copy of one, and three changed copies of the other."""
    first, second = world.scene(0, (160, 120)).photo, world.scene(1, (160, 120)).photo
    first.save(tmp_path / "a.png")
    second.save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    second.save(tmp_path / "d.jpg", quality=40)
    ImageOps.mirror(second).save(tmp_path / "e.png")
    second.resize((120, 90)).save(tmp_path / "f.png")
    return tmp_path


def test_copies_are_left_out(copies: Path) -> None:
    """The first of a kind comes in; byte-identical, recompressed, mirrored and scaled copies are named as such."""
    near = "near-duplicate"

    arrivals = take(copies)

    assert list(fates(arrivals).items()) == [
        ("a.png", "new"),
        ("b.png", "new"),
        ("c.png", "identical"),
        ("d.jpg", near),
        ("e.png", near),
        ("f.png", near),
    ]
    messages = [arrival.message for arrival in arrivals if isinstance(arrival, Rejection)]
    key = hashlib.sha256((copies / "b.png").read_bytes()).hexdigest()[:16]
    assert messages == ["the same bytes as a.png", *[f"looks like the photo with key {key}"] * 3]


def test_kept_near_duplicates_share_the_group_of_the_first(copies: Path) -> None:
    """With --keep-duplicates only identical bytes are left out, and what looks alike is one group."""
    arrivals = take(copies, keep_duplicates=True)

    groups = {a.source: a.group for a in arrivals if isinstance(a, Candidate)}
    assert list(groups) == ["a.png", "b.png", "d.jpg", "e.png", "f.png"]
    assert len(set(groups.values())) == 2
    assert {groups[name] for name in ("b.png", "d.jpg", "e.png", "f.png")} == {groups["b.png"]}


def test_a_photo_between_two_groups_is_left_out() -> None:
    """One that resembles photos of two groups would tie their splits together, so even --keep-duplicates refuses it."""
    memory = Memory(None, keep_duplicates=True)
    photo = photos.fit(world.scene(0, (400, 300)).photo, 64)
    loads = [
        Loaded(name, name * 64, photo, (bits, bits)) for name, bits in (("a", 0), ("b", 2**20 - 1), ("c", 2**10 - 1))
    ]

    first, second, between = [memory.judge(loaded) for loaded in loads]

    assert isinstance(first, Candidate)
    assert isinstance(second, Candidate)
    assert isinstance(between, Rejection)
    assert between.reason == "near-duplicate"


def test_the_order_of_the_paths_decides_not_that_of_the_threads(tmp_path: Path) -> None:
    """A large first photo that is decoded last is still the one that its copies are compared with."""
    world.scene(0, (600, 450)).photo.resize((1200, 900)).save(tmp_path / "0.png")
    for number in range(1, 12):
        world.scene(0, (160, 120)).photo.save(tmp_path / f"{number:02}.jpg", quality=50 + number)

    arrivals = take(tmp_path)

    assert [arrival.source for arrival in arrivals] == sorted(path.name for path in tmp_path.iterdir())
    assert Counter(fates(arrivals).values()) == {"new": 1, "near-duplicate": 11}
    assert isinstance(arrivals[0], Candidate)


NAMES = {
    "a space": "a room.jpg",
    "a leading dash": "-rf.jpg",
    "markup": "[red]x.jpg",
    "a newline": "two\nlines.jpg",
    "a page": "<img src=x onerror=alert(1)>.jpg",
    "a formula": "=cmd.jpg",
    "a backslash": "back\\slash.jpg",
    "no UTF-8": os.fsdecode(b"caf\xe9.jpg"),
    "what no UTF-8 is shown as": "caf\\xe9.jpg",
    "composed": unicodedata.normalize("NFC", "café.jpg"),
    "decomposed": unicodedata.normalize("NFD", "café.jpg"),
    "the longest": "x" * 251 + ".jpg",
    "case": "A ROOM.JPG",
    "a number": "007.jpg",
    "nan": "nan.jpg",
}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse or rewrite some of these names")
@pytest.mark.parametrize("same", [False, True], ids=["different photos", "one photo"])
def test_awkward_names_are_photos_like_others(tmp_path: Path, same: bool) -> None:
    """No name makes a photo vanish, be taken for another or stop the run."""
    for seed, name in enumerate(NAMES.values()):
        world.scene(0 if same else seed, (160, 120)).photo.save(tmp_path / name, "PNG")

    arrivals = take(tmp_path)

    assert len(arrivals) == len(NAMES)
    assert sum(isinstance(arrival, Candidate) for arrival in arrivals) == (1 if same else len(NAMES))
    assert all(arrival.source.encode() for arrival in arrivals)


def test_sources_are_never_changed(copies: Path) -> None:
    """Bytes and times of every file are the same before and after."""

    def state() -> dict[str, tuple[bytes, int]]:
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in copies.iterdir()}

    before = state()

    take(copies)

    assert state() == before


SCRIPT = """
import os, sys
from pathlib import Path
from segkit import photos
from segkit.build import intake
def take(folder):
    found = list(photos.find(folder))
    return list(intake.arrivals(folder, found, photos.Limits(min_size=64), intake.Memory(None)))
os.chdir(sys.argv[1])
take(Path("good"))  # as whoever runs the tests: loads what Pillow needs
if os.geteuid() == 0:
    os.seteuid(65534)  # root reads everything
for arrival in take(Path(".")):
    print(arrival.source, getattr(arrival, "reason", "new"))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs permissions as on Unix")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    """Unreadable files and folders that cannot be listed or entered are rejected one by one; the rest goes on."""
    for seed, name in enumerate(("good/a", "locked file", "locked folder/b", "listed only/c", "x.jpg/d")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        world.scene(seed, (160, 120)).photo.save(tmp_path / f"{name}.jpg")
    (tmp_path / "way").symlink_to("locked folder/inside")
    modes = {"locked file.jpg": 0, "locked folder": 0, "listed only": 0o444, "x.jpg": 0, "": 0o755}
    for name, mode in modes.items():
        (tmp_path / name).chmod(mode)

    ended = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    for name in modes:
        (tmp_path / name).chmod(0o755)

    assert ended.stdout.splitlines() == [
        "good/a.jpg new",
        "listed only/c.jpg unreadable",
        "locked file.jpg unreadable",
        "locked folder unreadable",
        "way unreadable",
        "x.jpg not-a-file",
    ], ended.stderr
