"""build.intake: every photo found gets exactly one decision, in a stable order."""

import hashlib
import os
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from PIL import ImageOps

from segkit import photos
from segkit.build import intake
from segkit.build.arrival import Arrival, Candidate, Kept
from segkit.build.history import History
from segkit.build.intake import Intake
from segkit.dataset import Rejection, stamps
from segkit.photos import Limits
from segkit.toy import world
from tests.dataset.test_dataset import build, render

LIMITS = Limits(min_size=64, size=64)


def judge(folder: Path, keep_duplicates: bool = False) -> list[Arrival]:
    """Return the decision about every photo in a folder, without an earlier dataset."""
    return list(intake.arrivals(Intake(folder, list(photos.find(folder)), LIMITS), History(None, keep_duplicates)))


def reasons(arrivals: list[Arrival]) -> dict[str, str]:
    """Return the reason of the rejection by source; "new" for a candidate."""
    return {a.source: a.reason if isinstance(a, Rejection) else "new" for a in arrivals}


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A folder with two photos, a byte-identical copy of one, and three modified copies of the other."""
    first, second = world.scene(0, (160, 120)).photo, world.scene(1, (160, 120)).photo
    first.save(tmp_path / "a.png")
    second.save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    second.save(tmp_path / "d.jpg", quality=40)
    ImageOps.mirror(second).save(tmp_path / "e.png")
    second.resize((120, 90)).save(tmp_path / "f.png")
    return tmp_path


def test_copies_are_rejected(copies: Path) -> None:
    """The first photo is accepted; identical, recompressed, mirrored and scaled copies are rejected with a reason."""
    near = "near-duplicate"

    arrivals = judge(copies)

    assert list(reasons(arrivals).items()) == [
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
    """With keep_duplicates, only identical files are rejected, and similar photos form one group."""
    arrivals = judge(copies, keep_duplicates=True)

    groups = {a.source: a.group for a in arrivals if isinstance(a, Candidate)}
    assert list(groups) == ["a.png", "b.png", "d.jpg", "e.png", "f.png"]
    assert len(set(groups.values())) == 2
    assert {groups[name] for name in ("b.png", "d.jpg", "e.png", "f.png")} == {groups["b.png"]}


def test_a_photo_between_two_groups_is_rejected(tmp_path: Path) -> None:
    """A photo that resembles two groups would merge them, so it is rejected even with keep_duplicates."""
    scene = world.scene(0, (480, 360)).photo
    for name, left in (("a", 0), ("b", 40), ("c", 20)):  # a tenth apart, the first two are different pictures
        scene.crop((left, 0, left + 440, 360)).save(tmp_path / f"{name}.png")

    arrivals = judge(tmp_path, keep_duplicates=True)

    assert list(reasons(arrivals).values()) == ["new", "new", "near-duplicate"]


def test_the_order_of_the_paths_decides_and_not_that_of_the_threads(tmp_path: Path) -> None:
    """A large first photo counts as the original of its copies, although it is decoded last."""
    world.scene(0, (600, 450)).photo.resize((1200, 900)).save(tmp_path / "0.png")
    for number in range(1, 12):
        world.scene(0, (160, 120)).photo.save(tmp_path / f"{number:02}.jpg", quality=50 + number)

    arrivals = judge(tmp_path)

    assert [arrival.source for arrival in arrivals] == sorted(path.name for path in tmp_path.iterdir())
    assert Counter(reasons(arrivals).values()) == {"new": 1, "near-duplicate": 11}
    assert isinstance(arrivals[0], Candidate)


NAMES = {
    "a space": "a room.jpg",
    "a leading dash": "-rf.jpg",
    "markup": "[red]x.jpg",
    "a newline": "two\nlines.jpg",
    "a page": "<img src=x onerror=alert(1)>.jpg",
    "a formula": "=cmd.jpg",
    "a backslash": "back\\slash.jpg",
    "not UTF-8": os.fsdecode(b"caf\xe9.jpg"),
    "the escape of another name": "caf\\xe9.jpg",
    "composed": unicodedata.normalize("NFC", "café.jpg"),
    "decomposed": unicodedata.normalize("NFD", "café.jpg"),
    "the longest": "x" * 251 + ".jpg",
    "case": "A ROOM.JPG",
    "a number": "007.jpg",
    "nan": "nan.jpg",
}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse or rewrite some of these names")
@pytest.mark.parametrize("same", [False, True], ids=["different photos", "one photo"])
def test_awkward_names_are_accepted(tmp_path: Path, same: bool) -> None:
    """No file name makes a photo vanish, collide with another or stop the run."""
    for seed, name in enumerate(NAMES.values()):
        world.scene(0 if same else seed, (160, 120)).photo.save(tmp_path / name, "PNG")

    arrivals = judge(tmp_path)

    assert len(arrivals) == len(NAMES)
    assert sum(isinstance(arrival, Candidate) for arrival in arrivals) == (1 if same else len(NAMES))
    assert all(arrival.source.encode() for arrival in arrivals)


def test_photos_that_were_decided_about_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those that are new, or have another time or identity, are read; with reread all are."""
    sources = render(tmp_path / "photos", 4)
    paths = sorted(sources.iterdir())
    for path in paths:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    dataset = build(sources, tmp_path / "out")
    read: list[str] = []
    original = photos.read

    def read_noted(path: Path, size: int) -> bytes:
        read.append(path.name)
        return original(path, size)

    monkeypatch.setattr(photos, "read", read_noted)

    def decide(reread: bool = False) -> list[str]:
        """Return the names of the photos that are read; all must count as kept."""
        read.clear()
        with stamps.of_sources(dataset.hidden, reread) as known:
            arrivals = list(intake.arrivals(Intake(sources, paths, LIMITS, known), History(dataset)))
        assert arrivals == [Kept(path.name) for path in paths]
        return sorted(read)

    first = decide()
    os.utime(paths[0], (1_700_000_001, 1_700_000_001))
    copy = paths[1].with_name("copy")
    shutil.copy2(paths[1], copy)
    copy.replace(paths[1])

    assert [first, decide(), decide(), decide(reread=True)] == [
        [],
        [paths[0].name, paths[1].name],
        [],
        [path.name for path in paths],
    ]


def test_a_photo_with_a_stamp_that_no_run_has_decided_about_is_read(tmp_path: Path) -> None:
    """A stamp saves nothing if the dataset was begun again: the photo is new, and decoded."""
    sources = render(tmp_path / "photos", 1)
    [path] = sources.iterdir()
    os.utime(path, (1_700_000_000, 1_700_000_000))
    for _ in range(2):
        with stamps.of_sources(tmp_path) as known:
            [arrival] = intake.arrivals(Intake(sources, [path], LIMITS, known), History(None))
        assert isinstance(arrival, Candidate)


def test_sources_are_never_changed(copies: Path) -> None:
    """Contents and modification times of all files are the same before and after."""

    def state() -> dict[str, tuple[bytes, int]]:
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in copies.iterdir()}

    before = state()

    judge(copies)

    assert state() == before


SCRIPT = """
import os, sys
from pathlib import Path
from segkit import photos
from segkit.build import intake
from segkit.build.history import History
from segkit.build.intake import Intake
def judge(folder):
    paths = list(photos.find(folder))
    return list(intake.arrivals(Intake(folder, paths, photos.Limits(min_size=64)), History(None)))
os.chdir(sys.argv[1])
judge(Path("good"))  # lets Pillow import its plugins before the user changes
if os.geteuid() == 0:
    os.seteuid(65534)  # root may read everything
for arrival in judge(Path(".")):
    print(arrival.source, getattr(arrival, "reason", "new"))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs Unix permissions")
def test_unreadable_files_and_folders_are_rejected(tmp_path: Path) -> None:
    """Files without read permission and folders that cannot be listed or entered are rejected; the rest is accepted."""
    for seed, name in enumerate(("good/a", "locked file", "locked folder/b", "listed only/c", "x.jpg/d")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        world.scene(seed, (160, 120)).photo.save(tmp_path / f"{name}.jpg")
    (tmp_path / "way").symlink_to("locked folder/inside")
    modes = {"locked file.jpg": 0, "locked folder": 0, "listed only": 0o444, "x.jpg": 0, "": 0o755}
    for name, mode in modes.items():
        (tmp_path / name).chmod(mode)

    completed = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    for name in modes:
        (tmp_path / name).chmod(0o755)

    assert completed.stdout.splitlines() == [
        "good/a.jpg new",
        "listed only/c.jpg unreadable",
        "locked file.jpg unreadable",
        "locked folder unreadable",
        "way unreadable",
        "x.jpg not-a-file",
    ], completed.stderr
