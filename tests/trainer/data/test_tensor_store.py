"""The cache: what comes out is what went in, bit by bit, whatever a kill or the disk did in between."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segkit.errors import StorageError
from tests.conftest import Segkit
from tests.trainer.runs import log, same, weights_of, words
from trainer.data.tensor_store import TensorStore


def ignore(done: int) -> None:
    """Hear nothing."""


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text(min_size=1), st.lists(st.integers(1, 4), max_size=3), max_size=8),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    st.integers(0, 999),
)
def test_what_was_kept_is_found_again(
    tmp_path: Path, shapes: dict[str, list[int]], dtype: torch.dtype, seed: int
) -> None:
    """Any keys, shapes and numbers, NaN included; in several segments; by another that opens it later."""
    folder = tmp_path / os.urandom(8).hex()
    draw = torch.Generator().manual_seed(seed)
    tensors = {key: (torch.randn(shape, generator=draw) / 0.3).to(dtype) for key, shape in shapes.items()}
    own = TensorStore(folder, dtype)
    for keys in ([*tensors][::2], [*tensors][1::2]):
        own.fill(keys, tensors.__getitem__, ignore)

    for cache in (own, TensorStore(folder, dtype)):
        assert cache.missing([*tensors, "?" * 50, "?" * 50]) == ["?" * 50]
        for key, tensor in tensors.items():
            assert cache[key].dtype == dtype
            assert torch.equal(cache[key], tensor)


def test_a_cut_or_changed_segment_is_no_lie(tmp_path: Path) -> None:
    """Lines that a kill cut and numbers it lost are missing; a changed byte is told, with the cure."""
    cache = TensorStore(tmp_path, torch.float32)
    cache.fill(["a", "b"], lambda key: torch.full((100,), float(ord(key))), ignore)
    (index,), (data,) = tmp_path.glob("*.jsonl"), tmp_path.glob("*.bin")
    content = data.read_bytes()

    data.write_bytes(content[:-1])
    assert TensorStore(tmp_path, torch.float32).missing(["a", "b"]) == ["b"]
    data.write_bytes(content[:500] + b"\x01" + content[501:])
    with pytest.raises(StorageError, match=r"is damaged\. Delete it, and type the same again"):
        TensorStore(tmp_path, torch.float32)["b"]
    data.write_bytes(content)
    index.write_bytes(index.read_bytes()[:-9] + b"\nrubbish\n[]\n{}\n")
    assert TensorStore(tmp_path, torch.float32).missing(["a", "b"]) == ["b"]
    data.write_bytes(b"")
    assert TensorStore(tmp_path, torch.float32).missing(["a", "b"]) == ["a", "b"]


def test_what_another_is_still_writing_is_found_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that looks while another fills sees what is there, and at its next look the rest."""
    monkeypatch.setattr("trainer.data.tensor_store.FLUSHED", 0.0)
    reader, found = TensorStore(tmp_path, torch.float32), []

    def make(key: str) -> torch.Tensor:
        reader.refresh()
        found.append(reader.missing("abc"))
        return torch.full((10,), float(ord(key)))

    TensorStore(tmp_path, torch.float32).fill("abc", make, ignore)
    reader.refresh()

    assert found == [["a", "b", "c"], ["b", "c"], ["c"]]
    assert torch.equal(reader["c"], torch.full((10,), float(ord("c"))))


_FILLING = """
import os, signal, sys, torch
from pathlib import Path
from trainer.data import tensor_store
tensor_store.FLUSHED = 0.0
one = tensor_store.TensorStore(Path(sys.argv[1]), torch.float32)
one.fill(
    one.missing(map(str, range(100))),
    lambda key: torch.full((1000,), float(key)),
    lambda done: done == 40 and os.kill(os.getpid(), signal.SIGKILL),
)
"""


def test_a_killed_filling_goes_on(tmp_path: Path) -> None:
    """What was flushed is there, whole; the rest is made by the next."""
    killed = subprocess.run([sys.executable, "-c", _FILLING, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL

    cache = TensorStore(tmp_path, torch.float32)
    missing = cache.missing(map(str, range(100)))
    assert 60 <= len(missing) <= 62
    cache.fill(missing, lambda key: torch.full((1000,), float(key)), ignore)
    for key in range(100):
        assert torch.equal(cache[str(key)], torch.full((1000,), float(key)))


def test_a_full_disk_is_told_and_keeps_what_is_there(tmp_path: Path) -> None:
    """The reason and the cure; tensors before it are found again."""
    import resource

    cache = TensorStore(tmp_path, torch.float32)
    cache.fill(["a"], lambda key: torch.ones(10), ignore)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(StorageError, match="run the same command again"):
            cache.fill(["b"], lambda key: torch.ones(1_000_000), ignore)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    again = TensorStore(tmp_path, torch.float32)
    assert again.missing(["a", "b"]) == ["b"]
    assert torch.equal(again["a"], torch.ones(10))


@pytest.mark.parametrize(
    "changed",
    [{}, {"precision": "bf16", "prompt_dropout": 0.5}, {"prediction": "v_prediction", "min_snr": 5, "no_flip": True}],
    ids=["fp32", "bf16", "v"],
)
def test_a_cache_changes_nothing(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, changed: dict[str, Any]
) -> None:
    """Losses, held-out losses and weights are those without, bit by bit; also when a run goes on without it."""
    for run, more in (
        ("kept", {}),
        ("plain", {"no_cache": True}),
        ("mixed", {"steps": 3}),
        ("mixed", {"no_cache": True}),
    ):
        done = segkit(*words(rooms, base, tmp_path / run, evaluate_every=1000, **changed, **more))
        assert (done.code, done.err) == (0, "")
    for run in ("plain", "mixed"):
        assert log(tmp_path / run) == log(tmp_path / "kept")
        assert same(weights_of(tmp_path / run), weights_of(tmp_path / "kept"))


def test_a_cache_serves_the_next_run_and_no_other_base(
    rooms: Path, base: Path, models: Any, tmp_path: Path, segkit: Segkit
) -> None:
    """It stands in the dataset; the same photos and base add nothing to it, another base has its own."""
    import shutil

    from tests.trainer.conftest import base_folder

    own = shutil.copytree(rooms, tmp_path / "rooms", ignore=shutil.ignore_patterns("cache"))
    other = base_folder(tmp_path / "other", models.clip, seed=1)

    def kept() -> set[Path]:
        return set((own / ".segkit" / "cache").rglob("*.bin"))

    assert segkit(*words(own, base, tmp_path / "one", steps=1)).code == 0
    first = kept()
    assert segkit(*words(own, base, tmp_path / "two", steps=1, learning_rate=1e-4)).code == 0
    assert kept() == first
    assert segkit(*words(own, other, tmp_path / "three", steps=1)).code == 0
    assert len(kept()) == len(first) + 2
    assert len({path.parent for path in kept()}) == 4
    assert segkit("check", str(own)).code == 0


def test_a_cache_that_does_not_fit_is_told_beforehand(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How large it will be, how much is free, and how to do without."""
    import shutil

    own = shutil.copytree(rooms, tmp_path / "rooms", ignore=shutil.ignore_patterns("cache"))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    done = segkit(*words(own, base, tmp_path / "run"))
    assert done.code == 2
    assert "The cache takes 0.0 GB, and 0.0 GB are free" in done.err
    assert "type --no-cache" in done.err
    assert segkit(*words(own, base, tmp_path / "run", no_cache=True, steps=1)).code == 0
