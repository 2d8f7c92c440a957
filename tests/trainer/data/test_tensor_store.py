"""Cached tensors are returned bit for bit, and kills or damage never return wrong ones."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segkit.errors import StorageError
from trainer.data.tensor_store import TensorStore


def ignore(done: int) -> None:
    """Ignore progress."""


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text(min_size=1), st.lists(st.integers(1, 4), max_size=3), max_size=8),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    st.integers(0, 999),
)
def test_tensors_survive_a_round_trip(
    tmp_path: Path, shapes: dict[str, list[int]], dtype: torch.dtype, seed: int
) -> None:
    """Any keys, shapes and dtypes are returned by the store that wrote several segments and by one opened later."""
    folder = tmp_path / os.urandom(8).hex()
    generator = torch.Generator().manual_seed(seed)
    tensors = {key: (torch.randn(shape, generator=generator) / 0.3).to(dtype) for key, shape in shapes.items()}
    store = TensorStore(folder, dtype)
    for keys in ([*tensors][::2], [*tensors][1::2]):
        store.fill(keys, tensors.__getitem__, ignore)

    for opened in (store, TensorStore(folder, dtype)):
        assert opened.missing([*tensors, "?" * 50, "?" * 50]) == ["?" * 50]
        for key, tensor in tensors.items():
            assert opened[key].dtype == dtype
            assert torch.equal(opened[key], tensor)


def test_a_truncated_or_changed_segment_is_noticed(tmp_path: Path) -> None:
    """Tensors whose line or values were truncated are missing; a changed byte is an error with a cure."""
    store = TensorStore(tmp_path, torch.float32)
    store.fill(["a", "b"], lambda key: torch.full((100,), float(ord(key))), ignore)
    (index,), (data,) = tmp_path.glob("*.jsonl"), tmp_path.glob("*.bin")
    content = data.read_bytes()

    data.write_bytes(content[:-1])
    assert TensorStore(tmp_path, torch.float32).missing(["a", "b"]) == ["b"]
    data.write_bytes(content[:500] + b"\x01" + content[501:])
    with pytest.raises(StorageError, match=r"is damaged\. Delete it and run the same command again"):
        TensorStore(tmp_path, torch.float32)["b"]
    data.write_bytes(content)
    index.write_bytes(index.read_bytes()[:-9] + b"\nrubbish\n[]\n{}\n")
    assert TensorStore(tmp_path, torch.float32).missing(["a", "b"]) == ["b"]
    data.write_bytes(b"")
    assert TensorStore(tmp_path, torch.float32).missing(["a", "b"]) == ["a", "b"]


def test_refresh_finds_what_another_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that refreshes while another is filled sees the flushed tensors, and the rest after the next refresh."""
    monkeypatch.setattr("trainer.data.tensor_store.FLUSHED", 0.0)
    reader, missing = TensorStore(tmp_path, torch.float32), []

    def compute(key: str) -> torch.Tensor:
        reader.refresh()
        missing.append(reader.missing("abc"))
        return torch.full((10,), float(ord(key)))

    TensorStore(tmp_path, torch.float32).fill("abc", compute, ignore)
    reader.refresh()

    assert missing == [["a", "b", "c"], ["b", "c"], ["c"]]
    assert torch.equal(reader["c"], torch.full((10,), float(ord("c"))))


_FILLING = """
import os, signal, sys, torch
from pathlib import Path
from trainer.data import tensor_store
tensor_store.FLUSHED = 0.0
store = tensor_store.TensorStore(Path(sys.argv[1]), torch.float32)
store.fill(
    store.missing(map(str, range(100))),
    lambda key: torch.full((1000,), float(key)),
    lambda done: done == 40 and os.kill(os.getpid(), signal.SIGKILL),
)
"""


def test_a_killed_fill_can_be_repeated(tmp_path: Path) -> None:
    """Flushed tensors are complete after a kill; the next fill adds the rest."""
    killed = subprocess.run([sys.executable, "-c", _FILLING, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL

    store = TensorStore(tmp_path, torch.float32)
    missing = store.missing(map(str, range(100)))
    assert 60 <= len(missing) <= 62
    store.fill(missing, lambda key: torch.full((1000,), float(key)), ignore)
    for key in range(100):
        assert torch.equal(store[str(key)], torch.full((1000,), float(key)))


def test_a_full_disk_keeps_earlier_tensors(tmp_path: Path) -> None:
    """A full disk is an error with a cure, and tensors stored before are still found."""
    import resource

    store = TensorStore(tmp_path, torch.float32)
    store.fill(["a"], lambda key: torch.ones(10), ignore)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(StorageError, match="run the same command again"):
            store.fill(["b"], lambda key: torch.ones(1_000_000), ignore)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    reopened = TensorStore(tmp_path, torch.float32)
    assert reopened.missing(["a", "b"]) == ["b"]
    assert torch.equal(reopened["a"], torch.ones(10))
