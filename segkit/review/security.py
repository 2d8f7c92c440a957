"""What protects the page from other people and other sites: token, cookie, Host and Origin, sizes, headers.

A browser runs pages of every site, and each of them can send requests to this machine. So a request counts only if it
carries the secret of this start, names this server, and comes from its own page; and a response may be neither framed
nor read by another site.
"""

import hmac
import ipaddress
import socket
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Segkit"
"""A POST needs this header, with any value: a page of another site cannot send it without asking, and is refused."""

MAX_BODY = 16_000_000
"""Bytes of a request; a stroke over a whole map of 12 megapixels takes less than a tenth, if it is not noise."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class TooLargeError(Exception):
    """A request's body exceeds MAX_BODY."""


@dataclass(frozen=True)
class Access:
    """Who may use the page.

    Attributes:
        port: that the server listens on.
        is_open: whether it listens on more than the loopback device.
        token: the secret of this start, 256 bits.
    """

    port: int
    is_open: bool = False
    token: str = field(default_factory=lambda: token_urlsafe(32), repr=False)

    @property
    def cookie(self) -> str:
        """Name of the cookie; browsers do not tell the ports of a host apart, so it has the port."""
        return f"segkit-{self.port}"

    def knows(self, secret: str) -> bool:
        """Return whether a secret is the token, in constant time."""
        return hmac.compare_digest(secret.encode("utf-8", "replace"), self.token.encode())

    def is_host(self, host: str) -> bool:
        """Return whether a Host header names this server.

        A site whose name resolves to this machine (DNS rebinding) sends its name. Where everybody may connect, any
        address is accepted, but no name except this machine's.
        """
        name, _, port = host.rpartition(":")
        if port != str(self.port):
            return False
        if name in ("127.0.0.1", "localhost", "[::1]"):
            return True
        return self.is_open and (name.lower() == socket.gethostname().lower() or _is_address(name))

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """Return status and reason if a request is not one of the page; None if it is."""
        host = request.headers.get("host", "")
        if not self.is_host(host):
            return 403, "This address is not the one that segkit review printed."
        if not self._is_known(request):
            return 401, "Open the address that segkit review printed: it contains the token of this start."
        return None if request.method in ("GET", "HEAD") else _refusal_of_post(request.headers, host)

    def _is_known(self, request: Request) -> bool:
        if request.url.path == "/" and self.knows(request.query_params.get("token", "")):
            return True
        try:
            cookies = SimpleCookie(request.headers.get("cookie", ""))
        except CookieError:
            return False
        return self.cookie in cookies and self.knows(cookies[self.cookie].value)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _refusal_of_post(headers: Headers, host: str) -> tuple[int, str] | None:
    origin = headers.get("origin")
    if origin is not None and (urlsplit(origin).scheme, urlsplit(origin).netloc) != ("http", host):
        return 403, "Requests of other sites are refused."
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return 403, "Requests of other sites are refused."
    if HEADER not in headers:
        return 403, f"The header {HEADER} is missing."
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return 415, "Expected Content-Type: application/json."
    return None


class Guard:
    """ASGI middleware that refuses foreign requests, and adds the headers that protect the page to every response."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return
        request = Request(scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if request.url.path == "/" and message["status"] == 200:
                    headers.append(
                        "Set-Cookie", f"{self.access.cookie}={self.access.token}; HttpOnly; SameSite=Strict; Path=/"
                    )
            await send(message)

        answer: ASGIApp = self.app
        if refusal := self.access.refusal(request):
            answer = refused(*refusal)
        elif _announced(request.headers) > MAX_BODY:
            answer = refused(413, f"A request may have {MAX_BODY:,} bytes.")
        await answer(scope, _limited(receive), guarded)


def refused(status: int, reason: str, **more: Any) -> Response:
    """Return a response that says why a request is refused. The connection ends, so that no body is read."""
    headers = {"Connection": "close"} if status in (401, 403, 413, 415) else {}
    return JSONResponse({"error": reason, **more}, status, headers)


def _announced(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else MAX_BODY + 1


def _limited(receive: Receive) -> Receive:
    """Return a `receive` that raises TooLargeError when a body is larger than allowed."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY:
            raise TooLargeError
        return message

    return limited
