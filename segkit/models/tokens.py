"""Count prompt tokens with CLIP's tokenizer where it is available, otherwise by an estimate."""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from segkit.dataset import prompts
from segkit.dataset.prompts import Count
from segkit.errors import ModelError, UnknownModelError
from segkit.models import hub

CLIP = "openai/clip-vit-large-patch14"
_FILES = ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json"]
_MIN_VOCABULARY = 514
"""Size of CLIP's smallest possible vocabulary: 256 bytes, each with and without an end-of-word mark, and two special
tokens."""


@dataclass(frozen=True)
class Counter:
    """A token counter.

    Attributes:
        name: the tokenizer's name, or "estimate" where CLIP's tokenizer is unavailable.
        count: returns the number of tokens of a prompt, start and end tokens included.
    """

    name: str
    count: Count


def counter(folder: str = "", download: bool = True) -> Counter:
    """Return an exact counter where CLIP's tokenizer can be found, otherwise an estimate.

    Args:
        folder: a folder with the tokenizer's files or a tokenizer/ subfolder, such as a Stable Diffusion folder.
            "" searches the Hugging Face cache and the hub.
        download: whether the hub is asked for a tokenizer that is not in the cache.

    Raises:
        ModelError: the folder does not hold a CLIP tokenizer.
    """
    if folder:
        tokenizer = load(folder)
        return Counter(_tokenizer_folder(folder).resolve().name, partial(_count, tokenizer))
    tokenizer = find(download=download)
    return Counter("estimate", prompts.estimate) if tokenizer is None else Counter(CLIP, partial(_count, tokenizer))


def find(folder: str = "", download: bool = True) -> Any:
    """Return CLIP's tokenizer from a folder, or with "" from the Hugging Face cache or the hub; None if unavailable.

    Raises:
        ModelError: the folder does not hold a CLIP tokenizer.
    """
    if folder:
        return load(folder)
    for search in (_cached, _downloaded) if download else (_cached,):
        if path := search():
            with suppress(ModelError):  # an incomplete download
                return _load(path)
    return None


def load(folder: str) -> Any:
    """Load CLIP's tokenizer from a folder or its tokenizer/ subfolder.

    Raises:
        UnknownModelError: there is no such folder.
        ModelError: it does not hold a CLIP tokenizer.
    """
    require_folder(folder)
    return _load(_tokenizer_folder(folder))


def require_folder(folder: str) -> None:
    """Check that there is a folder, without loading a tokenizer from it.

    Raises:
        UnknownModelError: there is none.
    """
    if not _tokenizer_folder(folder).is_dir():
        raise UnknownModelError(
            f"tokenizer {folder}: no such folder. Expected one with CLIP's vocab.json and merges.txt."
        )


def _tokenizer_folder(folder: str) -> Path:
    path = Path(folder).expanduser()
    return path / "tokenizer" if (path / "tokenizer").is_dir() else path


def _count(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, verbose=False)["input_ids"])


def _load(folder: Path) -> Any:
    hub.refuse_broken_torchvision()
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # missing or broken files raise OSError, ValueError, KeyError
        raise ModelError(f"tokenizer {folder}: cannot be loaded ({hub.reason(error)}).") from None
    hub.check_tokenizer(tokenizer, folder, "tokenizer")
    if len(tokenizer) < _MIN_VOCABULARY:
        raise ModelError(
            f"tokenizer {folder}: a vocabulary of {len(tokenizer)} tokens is too small for CLIP; expected 49,408. "
            "Pass a folder with CLIP's: tokenizer=FOLDER"
        )
    return tokenizer


def _cached() -> Path | None:
    if not _hub_cache().is_dir():  # spares an edit of one prompt the import
        return None
    from huggingface_hub import try_to_load_from_cache

    for name in ("tokenizer.json", "merges.txt"):
        path = try_to_load_from_cache(CLIP, name)
        if isinstance(path, str):
            return Path(path).parent
    return None


def _hub_cache() -> Path:
    """Return where huggingface_hub keeps its files; see its documentation on environment variables."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _downloaded() -> Path | None:
    if not hub.hub_answers():
        return None
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(CLIP, allow_patterns=_FILES))
    except Exception:  # a failed download is not an error: counting falls back to the estimate
        return None
