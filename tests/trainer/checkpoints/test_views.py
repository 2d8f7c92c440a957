"""Mappings of tensors read what is asked for, and only that."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trainer.checkpoints import views


def test_a_file_is_read_by_name(tmp_path: Path) -> None:
    """Names and metadata come from the header; an absent name is a KeyError."""
    save_file({"a": torch.ones(2), "b": torch.zeros(1)}, tmp_path / "a.safetensors", {"base": "x"})
    tensors = views.Lazy(tmp_path / "a.safetensors")
    assert (list(tensors), len(tensors), tensors.metadata) == (["a", "b"], 2, {"base": "x"})
    assert torch.equal(tensors["a"], torch.ones(2))
    with pytest.raises(KeyError):
        tensors["c"]


def test_other_names_and_several_files() -> None:
    """New names lead to the old tensors, and each name to its file."""
    first, second = {"a": torch.ones(1)}, {"b": torch.zeros(1), "c": torch.ones(3)}
    renamed = views.Renamed(first, {"x": "a"})
    sharded = views.Sharded({"a": first, "b": second})
    assert (list(renamed), len(renamed), renamed["x"] is first["a"]) == (["x"], 1, True)
    assert (list(sharded), len(sharded), sharded["b"] is second["b"]) == (["a", "b"], 2, True)
    with pytest.raises(KeyError):
        renamed["a"]
    with pytest.raises(KeyError):
        sharded["c"]


def test_an_error_is_shortened_to_a_line() -> None:
    """The first line of a message, or the type of an error without one."""
    assert views.first_line(ValueError("one\ntwo")) == "one"
    assert views.first_line(ValueError()) == "ValueError"
