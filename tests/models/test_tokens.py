"""models.tokens: CLIP's tokenizer from a folder or the cache, otherwise an estimate."""

import shutil
from pathlib import Path

import pytest

from segkit.errors import ModelError
from segkit.models import tokens
from tests.conftest import Models
from tests.models.test_hub import python


def test_a_folder_counts_exactly(models: Models) -> None:
    """The tokenizer of a folder counts all tokens, including start and end; this one has a token for each letter."""
    counter = tokens.counter(str(models.clip))

    assert counter.name == "clip"
    assert [counter.count(text) for text in ("", "ab", "ab c", "x" * 300)] == [2, 4, 5, 302]


def test_a_stable_diffusion_folder_is_accepted(models: Models, tmp_path: Path) -> None:
    """The tokenizer is found in the tokenizer/ subfolder that diffusers writes."""
    shutil.copytree(models.clip, tmp_path / "sd" / "tokenizer")

    assert tokens.counter(str(tmp_path / "sd")).count("ab") == 4


def test_folders_without_a_tokenizer_are_refused(models: Models, tmp_path: Path) -> None:
    """A missing folder, an empty folder and another model's vocabulary are each reported in one line."""
    (tmp_path / "empty").mkdir()
    folders = {tmp_path / "none": "no such folder", tmp_path / "empty": "tokenizer's files|cannot be loaded"}
    folders[models.blip] = "too small for CLIP|cannot be loaded"

    for folder, message in folders.items():
        with pytest.raises(ModelError, match=message) as refused:
            tokens.counter(str(folder))

        assert str(refused.value).startswith(f"tokenizer {folder}: ")
        assert "\n" not in str(refused.value)


def test_without_any_tokenizer_counts_are_estimates() -> None:
    """If neither the cache nor the hub has a tokenizer, the counter reports that it estimates."""
    assert tokens.counter().name == "estimate"


@pytest.mark.parametrize(("complete", "name"), [(True, tokens.CLIP), (False, "estimate")])
def test_the_cache_is_used(models: Models, tmp_path: Path, complete: bool, name: str) -> None:
    """CLIP's tokenizer is read from the Hugging Face cache; an incomplete download is ignored."""
    cache = tmp_path / "hub" / "models--openai--clip-vit-large-patch14"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("c" * 40)
    if complete:
        shutil.copytree(models.clip, cache / "snapshots" / ("c" * 40))
    else:
        (cache / "snapshots" / ("c" * 40)).mkdir(parents=True)
        (cache / "snapshots" / ("c" * 40) / "merges.txt").write_text("#version: 0.2\n")

    output = python(
        "from segkit.models import tokens; print(tokens.counter().name)", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1"
    )

    assert output == name
