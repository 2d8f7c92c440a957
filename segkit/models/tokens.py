"""CLIP's tokenizer, where one can be had, to count prompts with."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from segkit.dataset import prompts
from segkit.dataset.prompts import Count
from segkit.errors import ModelError
from segkit.models import hub

CLIP = "openai/clip-vit-large-patch14"
_FILES = ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json"]
_LETTERS = 514
"""Entries of CLIP's smallest possible vocabulary: 256 bytes, each with and without a word's end, and two specials."""


@dataclass(frozen=True)
class Counter:
    """Counts tokens. Attributes: name of the tokenizer, or "estimate" where none was to be had; the function."""

    name: str
    count: Count


def counter(folder: str = "") -> Counter:
    """Find CLIP's tokenizer: in the folder given, the Hugging Face cache or on the hub; or else estimate.

    Args:
        folder: with the tokenizer's files, or one with a tokenizer/ in it such as a Stable Diffusion folder. "": look
            in the cache and ask the hub.

    Raises:
        ModelError: the folder given holds no CLIP tokenizer.
    """
    if folder:
        tokenizer = load(folder)
        return Counter(_folder(folder).resolve().name, partial(_count, tokenizer))
    tokenizer = find()
    return Counter("estimate", prompts.estimate) if tokenizer is None else Counter(CLIP, partial(_count, tokenizer))


def find(folder: str = "") -> Any:
    """Return CLIP's tokenizer: of the folder given, or else of the Hugging Face cache or the hub; None for none.

    Raises:
        ModelError: the folder given holds no CLIP tokenizer.
    """
    if folder:
        return load(folder)
    for look in (_cached, _downloaded):
        if found := look():
            with suppress(ModelError):  # an incomplete download
                return _tokenizer(found)
    return None


def load(folder: str) -> Any:
    """Load CLIP's tokenizer from a folder, or from the tokenizer/ in it.

    Raises:
        ModelError: it holds none.
    """
    path = _folder(folder)
    if not path.is_dir():
        raise ModelError(f"--tokenizer {folder}: no such folder. Expected one with CLIP's vocab.json and merges.txt.")
    return _tokenizer(path)


def _folder(name: str) -> Path:
    path = Path(name).expanduser()
    return path / "tokenizer" if (path / "tokenizer").is_dir() else path


def _count(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, verbose=False)["input_ids"])


def _tokenizer(folder: Path) -> Any:
    hub.refuse_broken_torchvision()
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # missing or broken files raise OSError, ValueError, KeyError
        raise ModelError(f"--tokenizer {folder}: cannot be loaded ({hub.reason(error)}).") from None
    hub.check_tokenizer(tokenizer, folder, "--tokenizer")
    if len(tokenizer) < _LETTERS:
        raise ModelError(f"--tokenizer {folder}: {len(tokenizer)} entries are no CLIP vocabulary; expected 49,408.")
    return tokenizer


def _cached() -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in ("tokenizer.json", "merges.txt"):
        found = try_to_load_from_cache(CLIP, name)
        if isinstance(found, str):
            return Path(found).parent
    return None


def _downloaded() -> Path | None:
    if not hub.hub_answers():
        return None
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(CLIP, allow_patterns=_FILES))
    except Exception:  # whatever the hub says, an estimate will do
        return None
