"""Rejections: which of them are still valid once photos have become triples."""

import json
from pathlib import Path

import pytest

from segkit.dataset import rejection
from segkit.dataset.rejection import Rejection
from segkit.errors import DatasetError
from tests.dataset.test_dataset import build, render


def test_a_line_is_read_or_refused() -> None:
    """A rejection survives its line; a damaged one is worded."""
    line = {"source": "ä.jpg", "sha256": "0" * 64, "reason": "damaged", "message": "truncated"}

    assert rejection.decode(json.dumps(line).encode()) == Rejection(**line)
    for damaged in ({**line, "reason": 3}, {"source": "a.jpg"}, {**line, "more": 1}):
        with pytest.raises(DatasetError, match=r"expected|missing|unknown"):
            rejection.decode(json.dumps(damaged).encode())
    with pytest.raises(DatasetError, match="not valid JSON"):
        rejection.decode(b"{")


def test_rejections_of_triples_are_dropped(tmp_path: Path) -> None:
    """Of a triple in the manifest, or of a new one: its own, and that it could once not be read. Others stay."""
    dataset = build(render(tmp_path / "photos", 2), tmp_path / "out")
    old, new = dataset.triples()
    dataset.replace_all([old])
    stay = [
        Rejection(old.source, "1" * 64, "too-small", "8x8"),
        Rejection("thumb.jpg", "", "thumbnail", ""),
        Rejection("x.jpg", "", "unreadable", ""),
    ]
    obsolete = [
        rejected
        for triple in (old, new)
        for rejected in (
            Rejection(triple.source, triple.sha256, "too-small", "8x8"),
            Rejection(triple.source, "", "unreadable", ""),
        )
    ]

    rejections = rejection.by_place([*obsolete, *stay])

    assert rejection.valid(rejections, [new], dataset.lists.index()) == sorted(stay, key=lambda item: item.source)
