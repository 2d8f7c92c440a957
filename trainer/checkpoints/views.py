"""Tensors of files as mappings that read on access: lazily, under other names, or from several files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


class Lazy(Mapping[str, "Tensor"]):
    """The tensors of a safetensors file, read on access."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        untyped: Any = safe_open  # its stub declares no types
        self._path, self._file = path, untyped(path, "pt")
        self._names = dict.fromkeys(self._file.keys())
        self.metadata: dict[str, str] = self._file.metadata() or {}

    def __getitem__(self, name: str) -> "Tensor":
        if name not in self._names:
            raise KeyError(name)
        try:
            tensor: Tensor = self._file.get_tensor(name)
        except Exception as error:  # a dtype that torch lacks raises several types
            raise ModelError(f"{self._path}: {name} cannot be read ({first_line(error)}). Use another file.") from None
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Renamed(Mapping[str, "Tensor"]):
    """Tensors under other names, read on access."""

    def __init__(self, tensors: "Mapping[str, Tensor]", names: Mapping[str, str]) -> None:
        self._tensors, self._names = tensors, dict(names)

    def __getitem__(self, name: str) -> "Tensor":
        return self._tensors[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Sharded(Mapping[str, "Tensor"]):
    """The tensors of several files."""

    def __init__(self, places: "Mapping[str, Mapping[str, Tensor]]") -> None:
        self._places = places

    def __getitem__(self, name: str) -> "Tensor":
        return self._places[name][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def first_line(error: Exception) -> str:
    """Return the first line of another library's error, for a one-line message."""
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
