"""Which maps of an output folder were repaired from which originals, so that an interrupted repair continues.

OUT/.segkit-snap/repaired.jsonl has one line per repaired map. It is written before the map: a line whose map is missing
is repaired again, and a map that exists is complete, whenever the process was killed.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segkit import storage
from segkit.errors import UsageError
from segkit.palette import Palette
from segkit.settings import SnapSettings

HIDDEN = ".segkit-snap"
"""Folder beside the repaired maps with the record, and the lock while maps are written."""


@dataclass(frozen=True)
class Record:
    """The maps that an output folder holds from earlier repairs, and what they were repaired with.

    Attributes:
        folder: the output folder.
        settings: hash of the palettes and options of this repair: see `settings_of`.
        lines: the last line of each output, by its path relative to the folder.
    """

    folder: Path
    settings: str
    lines: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, settings: str) -> "Record":
        """Read the record of an output folder; empty if there is none."""
        return cls(folder, settings, {line["output"]: line for line in _lines(folder / HIDDEN / "repaired.jsonl")})

    def __contains__(self, output: Path) -> bool:
        return self._name(output) in self.lines

    def require_same_settings(self, output: Path) -> None:
        """Refuse an existing output that was repaired with other settings.

        Raises:
            UsageError: it was.
        """
        if self.lines[self._name(output)].get("settings") != self.settings:
            raise UsageError(
                f"{output} was repaired with another palette or other options. Choose another output folder."
            )

    def is_of(self, original: bytes, output: Path) -> bool:
        """Report whether an output was repaired from these bytes."""
        return bool(self.lines[self._name(output)].get("original_sha256") == storage.sha256(original))

    def add(self, original: bytes, output: Path) -> None:
        """Note that an output is about to be written.

        Raises:
            StorageError: the disk is full, read-only or failing.
        """
        line = {
            "output": self._name(output),
            "original_sha256": storage.sha256(original),
            "settings": self.settings,
        }
        path = self.folder / HIDDEN / "repaired.jsonl"
        storage.make_folder(path.parent)
        with storage.disk_errors(path), path.open("ab") as file:
            # After a kill in the middle of a line, the next one begins on a line of its own.
            file.write((b"\n" if file.tell() else b"") + storage.to_line(line).rstrip(b"\n"))
            file.flush()
            os.fsync(file.fileno())
        self.lines[line["output"]] = line

    def _name(self, output: Path) -> str:
        return output.relative_to(self.folder).as_posix()


def settings_of(rules: SnapSettings, palette: Palette, target: Palette | None) -> str:
    """Return a hash of all that decides how a map is repaired."""
    values = [palette.hash, target.hash if target else "", rules.cause, rules.unsure, rules.first_id]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a record; one that a kill cut short has no map yet."""
    if not path.is_file():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("output"), str):
            yield line
