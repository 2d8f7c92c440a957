"""Requests to Google: to its hosts only, over https, within a time limit, and retried until the answer is complete."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from segkit.errors import SheetError

Result = TypeVar("Result")

SHEET_HOSTS = ("docs.google.com", ".googleusercontent.com")
"""Google serves the CSV export of a sheet from the second; a leading dot stands for any name before it."""
API_HOSTS = ("sheets.googleapis.com",)
TOKEN_HOSTS = ("oauth2.googleapis.com", "accounts.google.com", "www.googleapis.com")

THROTTLED_OR_FAILING = (429, 500, 502, 503, 504)
MAX_REDIRECTS = 5
_CHUNK = 1 << 16


class ForeignHostError(SheetError):
    """A request, usually a redirected one, leads to another host than Google's, or not over https.

    Args:
        host: the host that it leads to.
        message: as for SegkitError.
    """

    def __init__(self, host: str, message: str) -> None:
        super().__init__(message)
        self.host = host


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        seconds: from connecting to the last byte; a server that sends a byte now and then gains no time.
        retries: further requests after a cut answer, a failed connection, status 429 or a server error: after the
            delay in Retry-After, else 0, 2 and 4 seconds. A server that stays silent is asked once more only.
        size: bytes of an answer, decompressed.
    """

    seconds: float
    retries: int
    size: int


class Transport(HTTPAdapter):
    """Sends the requests of a session; redirects and token requests pass through it as well.

    Args:
        hosts: allowed hosts, such as SHEET_HOSTS.
        limits: of each request.
        base: address of a test server that replaces Google; "" for none.
        statuses: status codes of answers that are worth another request.
    """

    def __init__(
        self, hosts: tuple[str, ...], limits: Limits, base: str = "", statuses: tuple[int, ...] = THROTTLED_OR_FAILING
    ) -> None:
        super().__init__()
        self.hosts, self.limits, self.base, self.statuses = hosts, limits, base, statuses

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Return the complete answer; its body has been read and decompressed.

        Raises:
            ForeignHostError: the request leads to another host than Google's.
            SheetError: there is no complete answer, or it is too large.
        """
        request = self._directed(request)
        options |= {"stream": True, "timeout": self.limits.seconds}
        if self.base:
            options["proxies"] = {}  # those of the environment were chosen for Google's address
        retry = Retry(backoff_factor=1, retry_after_max=60)
        for remaining in range(self.limits.retries, -1, -1):
            answer: urllib3.BaseHTTPResponse | None = None
            try:
                response, body = _within(self.limits.seconds, lambda: self._receive(request, options))
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                attempts = self.limits.retries - remaining + 1
                if not remaining or not _is_passing(error, attempts):
                    raise SheetError(self._explanation(error, attempts)) from None
            else:
                answer = response.raw
                if not remaining or response.status_code not in self.statuses:
                    response.raw = BytesIO(body)
                    return response
            retry = retry.increment(request.method, request.url)
            retry.sleep(answer)
        raise AssertionError("the last attempt returns or raises")

    def _directed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request, addressed to the test server that replaces Google, if there is one."""
        url = urlsplit(str(request.url))
        if is_google(str(request.url), self.hosts):
            if self.base:
                request = request.copy()
                request.url = self.base + urlunsplit(("", "", *url[2:]))
            return request
        base = urlsplit(self.base)
        if self.base and url[:2] == base[:2]:
            return request
        expected = " or ".join(host if host[0] != "." else f"*{host}" for host in self.hosts)
        raise ForeignHostError(
            url.hostname or "",
            f"Google Sheets redirected the request to {url.scheme}://{url.hostname}, and nothing was sent there. "
            f"Expected https on {expected}. Check the address and the network connection.",
        )

    def _receive(
        self, request: requests.PreparedRequest, options: dict[str, Any]
    ) -> tuple[requests.Response, bytearray]:
        response = super().send(request, **options)
        body = bytearray()
        with response:
            # Not response.content, which is unlimited.
            for chunk in response.raw.stream(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > self.limits.size:
                    raise SheetError(f"The sheet holds more than {self.limits.size:,} bytes, too much for a palette.")
        return response, body

    def _explanation(self, error: Exception, attempts: int) -> str:
        times = f" ({attempts} attempts)" if attempts > 1 else ""
        if _is_timeout(error):
            return f"Google Sheets did not answer within {self.limits.seconds:g} seconds{times}. Try again later."
        if isinstance(error, requests.ConnectionError):
            name = type(error).__name__
            return f"Google Sheets cannot be reached ({name}){times}. Check the network connection and try again."
        return f"Google Sheets sent an incomplete answer{times}. Check the network connection and try again."


def session(transport: Transport) -> requests.Session:
    """Return a session that uses only this transport."""
    return mounted(requests.Session(), transport)


def mounted(session: requests.Session, transport: Transport) -> requests.Session:
    """Return the session, after making it use only this transport."""
    session.adapters.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, transport)
    session.max_redirects = MAX_REDIRECTS
    return session


def is_google(url: str, hosts: tuple[str, ...]) -> bool:
    """Report whether a URL leads to one of Google's hosts over https.

    Args:
        url: an absolute URL.
        hosts: allowed hosts, such as SHEET_HOSTS.
    """
    try:
        parts = urlsplit(url)
        standard = parts.scheme == "https" and parts.port in (None, 443)
    except ValueError:  # the port is not a number
        return False
    host = parts.hostname or ""
    return standard and any(host.endswith(known) if known[0] == "." else host == known for known in hosts)


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """Return the result of work, or raise requests.Timeout after some seconds.

    Sockets limit only the wait for the next byte. Work that is given up ends in the background, with its connection.
    """
    results: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            results.put((work(), None))
        except BaseException as error:  # raised below, in the caller's thread
            results.put((None, error))

    Thread(target=run, daemon=True).start()
    try:
        result, error = results.get(timeout=seconds)
    except Empty:
        raise requests.Timeout from None
    if error:
        raise error
    return result  # type: ignore[return-value]  # None only beside an error


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError)


def _is_passing(error: Exception, attempts: int) -> bool:
    """Report whether another request may succeed; certificates that do not fit stay so."""
    if _is_timeout(error):
        return attempts < 2
    if isinstance(error, requests.exceptions.SSLError):
        return False
    return isinstance(error, requests.ConnectionError | urllib3.exceptions.HTTPError)
