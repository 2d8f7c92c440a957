"""Files at https:// addresses as a store that is only read. A server cannot list them: pass a list file of URLs."""

import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.errors import LocationError
from segkit.remote.faults import IncompleteError, shown
from segkit.remote.store import Entry

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 16
_RANGE_BEYOND_END = 416


class Web:
    """Web servers, with the user's ~/.netrc and proxies.

    Args:
        silence: see Patience.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._of_thread = threading.local()  # a session is not thread-safe

    def find(self, path: str, below: bool) -> list[Entry]:
        """Refuse to list a folder."""
        message = (
            f"{shown(path)} cannot be listed, as a web server. Pass a list file, one URL a line: https://.../list.txt"
        )
        raise LocationError("refused", message)

    def stat(self, path: str) -> Entry | None:
        """See Store. Asked by GET of one byte, because signed URLs refuse HEAD."""
        with closing(self._get(path, 0, 1)) as answer:
            if answer.status_code in (404, 410):
                return None
            if answer.status_code != _RANGE_BEYOND_END:  # an empty file
                answer.raise_for_status()
            size = _size(answer)
            if size < 0:
                raise LocationError(
                    "refused", f"{shown(path)}: the server does not tell the size. Download the file first."
                )
            return Entry("", size, answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")

    def read(self, path: str, start: int, size: int) -> bytes:
        """See Store. A server that knows no ranges sends what precedes the range, too."""
        if not size:
            return b""
        with closing(self._get(path, start, size)) as answer:
            answer.raise_for_status()
            skipped = start if answer.status_code == 200 else 0
            if answer.status_code == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise IncompleteError("another range than was asked for")
            data = bytearray()
            for chunk in answer.iter_content(_CHUNK):
                data += chunk
                if len(data) >= skipped + size:
                    break
            return bytes(data[skipped : skipped + size])

    def send(self, path: str, content: bytes | Path) -> None:
        """Refuse to write."""
        raise LocationError(
            "refused", f"{shown(path)} cannot be written: https:// is for reading. Use s3:// or the like."
        )

    def _get(self, path: str, start: int, size: int) -> "requests.Response":
        headers = {"Range": f"bytes={start}-{start + size - 1}", "Accept-Encoding": "identity"}
        answer: requests.Response = self._session().get(path, headers=headers, timeout=self._silence, stream=True)
        return answer

    def _session(self) -> Any:
        import requests

        if not hasattr(self._of_thread, "session"):
            self._of_thread.session = requests.Session()
        return self._of_thread.session


def _size(answer: "requests.Response") -> int:
    """Return the bytes of the whole file; -1 if the answer does not tell."""
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    length = total or (answer.headers.get("Content-Length", "") if answer.status_code == 200 else "")
    return int(length) if length.isdecimal() else -1
