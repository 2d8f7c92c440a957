"""Run-length encoding of label maps, and the cache of encoded maps in Batches."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segkit.palette import Palette
from tests.trainer.data.test_batches import example
from tests.trainer.runs import path_of
from trainer.data import runlength
from trainer.data.batches import Batches
from trainer.settings import TrainSettings


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 256), st.integers(0, 999))
def test_a_map_survives_a_round_trip(height: int, width: int, classes: int, seed: int) -> None:
    """Decoding returns the same pixels for every size, from one class to noise; adjacent runs differ."""
    labels = np.random.default_rng(seed).integers(0, classes, (height, width), np.uint8)
    runs = runlength.encode(labels)
    assert np.array_equal(runs.pixels(), labels)
    assert runs.pixels().dtype == np.uint8
    assert (runs.classes[1:] != runs.classes[:-1]).all()


def test_a_map_is_read_once(tmp_path: Path) -> None:
    """Later epochs show the same map, mirrored or not, without reading the file again."""
    single = example(tmp_path, 3, (300, 200))
    batches = Batches([single], Palette.load("ade20k"), TrainSettings(batch_size=1, resolution=64))
    expected = [
        Batches([single], Palette.load("ade20k"), TrainSettings(batch_size=1, resolution=64)).batch(number).controls
        for number in range(8)
    ]
    first = batches.batch(0).controls
    path_of(single.control_map).unlink()

    later = [batches.batch(number).controls for number in range(8)]

    assert np.array_equal(first, later[0])
    assert all(np.array_equal(a, b) for a, b in zip(expected, later, strict=True))
