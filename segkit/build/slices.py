"""Slices of a build: photos divided by a hash of their names, so that jobs that know nothing of each other share them.

A slice is a dataset without a decision about near-duplicates, which may be in other slices. segkit import merges all
slices of a build, and judges their photos as one build would.
"""

import hashlib
import re
from dataclasses import dataclass

from segkit.errors import SettingError


@dataclass(frozen=True)
class Slice:
    """One of the equal parts of a build.

    Attributes:
        number: from 1 to count.
        count: of all slices.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, source: str) -> bool:
        """Return whether a photo belongs to the slice.

        Its name decides, so photos that are added move no other one, and no job reads the photos of another. A hash of
        the content would bring copies together, but every job would have to read all photos to know it.

        Args:
            source: the name that the dataset records.
        """
        digest = hashlib.sha256(b"slice " + source.encode()).digest()
        return int.from_bytes(digest[:8]) % self.count == self.number - 1


def parse(text: str) -> Slice:
    """Read a setting such as "2/8".

    Raises:
        SettingError: it is not the number of a slice and their count.
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise SettingError("shard", text, "the number of a slice, from 1, and how many there are, such as 2/8")
    return Slice(int(match[1]), int(match[2]))
