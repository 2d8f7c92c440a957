"""Reader for TOML files that people write: every fault is named with its line and what to do about it."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BACKSLASHES = (
    "in double quotes a backslash starts an escape such as \\n; write paths in single quotes or with forward slashes"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class TomlError(ValueError):
    """Not valid TOML. The message is one line, without a full stop."""


@dataclass(frozen=True)
class Document:
    """A TOML file.

    Attributes:
        values: its content.
        text: its source.
    """

    values: dict[str, Any]
    text: str

    def line(self, name: str) -> int:
        """Return the line, from 1, that sets a top-level key or begins its table."""
        quoted = rf"[\"']?{re.escape(name)}[\"']?"
        match = re.search(rf"^[ \t]*(?:{quoted}[ \t]*[=.]|\[+[ \t]*{quoted}[ \t]*[].])", self.text, re.MULTILINE)
        return _line(self.text, match.start()) if match else 1

    def require_paths(self, names: Iterable[str]) -> None:
        r"""Refuse Windows paths whose backslashes were read as escapes: "C:\new" is C:, a line break and ew.

        Args:
            names: keys whose values may be paths. A path that exists is accepted.

        Raises:
            TomlError: a value contains a control character.
        """
        for name in names:
            value = self.values.get(name)
            if isinstance(value, str) and _CONTROL.search(value) and not _exists(value):
                raise TomlError(f"line {self.line(name)}: {name} contains the escape {_escape(value)}; {_BACKSLASHES}")


def read(path: Path) -> Document:
    """Read a TOML file.

    Raises:
        OSError: the file cannot be read.
        TomlError: it is not valid TOML in UTF-8.
    """
    text = _decode(path.read_bytes())
    try:
        return Document(tomllib.loads(text), text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(_reason(text, str(error))) from None


def _decode(data: bytes) -> str:
    if data[:2] in _UTF16 or b"\0" in data[:2]:
        raise TomlError("line 1 is UTF-16; save the file as UTF-8 without byte-order mark")
    if data.startswith(b"\xef\xbb\xbf"):
        raise TomlError("line 1 begins with a byte-order mark; save the file as UTF-8 without byte-order mark")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TomlError(f"line {line} is not UTF-8; save the file as UTF-8 without byte-order mark") from None


def _reason(text: str, message: str) -> str:
    """Return a decoder's message with its line first, the line itself, and the cure if a backslash caused it."""
    reason = re.sub(r" \(at .*\)$", "", message)
    place = re.search(r"\(at line (\d+), column \d+\)$", message)
    number = int(place[1]) if place else max(1, len(text.splitlines()))
    line = next(iter(text.split("\n")[number - 1 :]), "").strip()
    if re.search(r'"[^"]*\\', line):
        reason += f"; {_BACKSLASHES}"
    return f"line {number} ({line[:100]}): {reason[:1].lower()}{reason[1:]}"


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _escape(value: str) -> str:
    """Return the first control character as it is written in TOML."""
    return repr(_CONTROL.findall(value)[0])[1:-1].replace("\\x08", "\\b").replace("\\x0c", "\\f")


def _exists(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # a name that is too long, or NUL
        return False
