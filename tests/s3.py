"""A real S3 server on loopback (moto's), with faults on request."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Environ = dict[str, Any]
Start = Callable[..., Any]

DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
MOVED = "<Error><Code>PermanentRedirect</Code><Message>Use the other endpoint.</Message></Error>"


@dataclass
class Fault:
    """What the server does wrong.

    Attributes:
        kind: "status", "silent", "slow", "short" (fewer bytes, with a length that fits), "cut" (the connection ends
            in the middle of the body), "reset" (it ends before an answer).
        status: of the answer.
        body: of the answer.
        headers: of the answer.
        times: how many requests it meets.
        methods: HTTP methods that it meets.
        ending: of the paths that it meets.
    """

    kind: str
    status: str = "503 Service Unavailable"
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    times: int = 1
    methods: tuple[str, ...] = ("GET",)
    ending: str = ""


@dataclass
class FaultyApp:
    """WSGI middleware that lets requests fail.

    Attributes:
        app: the application that answers the others.
        faults: those to come.
        requests: method, path and Range of every request.
    """

    app: Callable[[Environ, Start], Iterable[bytes]]
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        """Answer a request."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self.lock:
            self.requests.append((method, path, environ.get("HTTP_RANGE", "")))
            fault = next((f for f in self.faults if method in f.methods and path.endswith(f.ending)), None)
            if fault:
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
        return self._fail(fault, environ, start) if fault else self.app(environ, start)

    def _fail(self, fault: Fault, environ: Environ, start: Start) -> Iterable[bytes]:
        if fault.kind == "reset":
            return _reset(environ)
        if fault.kind == "status":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            headers = [("Content-Length", str(len(fault.body))), ("Content-Type", "application/xml"), *fault.headers]
            start(fault.status, headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [fault.body.encode()]
        if fault.kind == "silent":
            time.sleep(1.5)
            return self.app(environ, start)
        status, headers, body = self._answer(environ)
        half = len(body) // 2
        if fault.kind == "short":
            headers = [(key, str(half) if key.lower() == "content-length" else value) for key, value in headers]
        start(status, [*headers])
        return {"short": [body[:half]], "cut": _cut(environ, body[:half]), "slow": _slowly(body)}[fault.kind]

    def _answer(self, environ: Environ) -> tuple[str, list[tuple[str, str]], bytes]:
        answer: list[Any] = []
        chunks = self.app(environ, lambda status, headers, *rest: answer.append((status, headers)))
        body = b"".join(chunks)
        status, headers = answer[0]
        return status, headers, body


def _slowly(body: bytes) -> Iterator[bytes]:
    step = max(1, len(body) // 5)
    for start in range(0, len(body), step):
        time.sleep(0.02)
        yield body[start : start + step]


def _cut(environ: Environ, body: bytes) -> Iterator[bytes]:
    yield body
    _close(environ)


def _reset(environ: Environ) -> list[bytes]:
    _close(environ)
    raise ConnectionAbortedError


def _close(environ: Environ) -> None:
    environ["werkzeug.socket"].shutdown(2)


@contextmanager
def serving() -> Iterator[tuple[str, FaultyApp]]:
    """Run the server in a thread; yield its address and its faults."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    app = FaultyApp(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", app
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def environment(address: str) -> dict[str, str]:
    """Return the variables that lead every S3 client of this process to the server, and to no other."""
    return {
        "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip
