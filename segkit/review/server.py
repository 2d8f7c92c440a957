"""The web server of a review."""

import socket
from collections.abc import Callable
from contextlib import closing
from types import FrameType

import uvicorn

from segkit.errors import UsageError
from segkit.review import app
from segkit.review.security import Access
from segkit.review.session import Session

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _Uvicorn(uvicorn.Server):
    """A server that Ctrl-C and SIGTERM end in order: that is how a review ends, not an interruption.

    Args:
        config: of uvicorn.
        ready: called once the server accepts connections.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Finish running requests; a second signal ends at once. uvicorn would raise the signal again afterwards."""
        self.force_exit, self.should_exit = self.should_exit, True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        self._ready()


class Server:
    """Serves a review until it is stopped. It listens from the beginning; `run` answers.

    Args:
        session: what is reviewed.
        host: the address to listen on.
        port: 0 for any that is free.
        ready: called with the URL, token included, once requests are answered.

    Attributes:
        url: of the page, with the token of this start.

    Raises:
        UsageError: the host has no address, or the port is taken.
    """

    def __init__(self, session: Session, host: str, port: int, ready: Callable[[str], None]) -> None:
        self._session, self._socket = session, _listen(host, port)
        access = Access(self._socket.getsockname()[1], is_open=host not in LOOPBACK)
        self.url = f"http://{_name(host)}:{access.port}/?token={access.token}"
        config = uvicorn.Config(
            app.build(session, access), http="h11", ws="none", loop="asyncio", lifespan="off", log_level="warning",
            access_log=False, server_header=False, timeout_graceful_shutdown=3, proxy_headers=False,
        )  # fmt: skip
        self._server = _Uvicorn(config, lambda: ready(self.url))

    def run(self) -> None:
        """Answer until Ctrl-C, SIGTERM or `stop`; changes that are being stored are finished."""
        with self._socket, closing(self._session):
            self._server.run([self._socket])

    def stop(self) -> None:
        """End the server, from another thread."""
        self._server.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen on {host}, port {port}: {reason}. Choose another one.") from None
    return listening


def _name(host: str) -> str:
    """Return how a URL names the host; an address that stands for all of them is named by this machine."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname().lower()
    return f"[{host}]" if ":" in host else host
