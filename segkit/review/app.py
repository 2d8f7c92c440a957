"""The web application: addresses, each of which is one call of the session. Handlers run in a pool of threads."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from segkit.errors import ConflictError, LockedError, MapError, PaletteError, SegkitError, StorageError, UsageError
from segkit.review import areas, messages, pictures
from segkit.review.queue import Order
from segkit.review.security import MAX_BODY, Access, Guard, TooLargeError, refused
from segkit.review.session import Session

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_STATUS: dict[type[Exception], int] = {
    UsageError: 400, PaletteError: 400, ConflictError: 409, MapError: 422, LockedError: 423, StorageError: 507,
    SegkitError: 500,
}  # fmt: skip

_KEEP = {"Cache-Control": "private, max-age=31536000, immutable"}
"""For pictures, whose addresses contain their hash."""


def build(session: Session, access: Access) -> ASGIApp:
    """Return the application that serves a session to those who have access."""
    static = _static_files()
    routes = [
        Route("/", partial(_file, static, "index.html")),
        Route("/static/{name}", lambda request: _file(static, request.path_params["name"], request)),
        Route("/api/dataset", lambda _: _json(session.describe())),
        Route("/api/found", lambda _: _json(session.found())),
        Route("/api/items", partial(_items, session)),
        Route("/api/triples/{key}", lambda request: _json(session.details(request.path_params["key"]))),
        Route("/api/tokens", lambda request: _json(session.tokens(request.query_params.get("text", "")))),
        Route("/photo/{key}", partial(_photo, session)),
        Route("/map/{key}", partial(_map, session)),
        Route("/confidence/{key}", partial(_confidence, session)),
        Route("/thumbnails/photo/{key}", partial(_photo_thumbnail, session)),
        Route("/thumbnails/map/{key}", partial(_map_thumbnail, session)),
        Route("/areas/{key}", partial(_areas, session)),
        _post("/api/prepare", messages.Prepare, session.prepare),
        _post("/api/draft", messages.Prepare, session.draft),
        _post("/api/assist", messages.Click, session.assist),
        _post("/api/relabel", messages.Relabel, session.relabel),
        _post("/api/undo", messages.OfMap, session.undo),
        _post("/api/redo", messages.OfMap, session.redo),
        _post("/api/prompt", messages.SetPrompt, session.set_prompt),
        _post("/api/decide", messages.Decide, session.decide),
        _post("/api/move", messages.Move, session.move),
        _post("/api/bulk/classes", messages.Selection, session.classes_of),
        _post("/api/bulk/relabel", messages.BulkRelabel, session.relabel_many),
        _post("/api/bulk/undo", messages.BulkUndo, session.undo_bulk),
        _post("/api/bulk/decide", messages.BulkDecide, session.decide_many),
    ]
    handlers: dict[Any, Any] = dict.fromkeys((SegkitError, KeyError, OSError, TooLargeError, HTTPException), _failed)
    return Guard(Starlette(routes=routes, exception_handlers=handlers), access)


def _post(path: str, kind: type[Struct], action: Callable[[Any], Any]) -> Route:
    async def endpoint(request: Request) -> Response:
        data = await request.body()
        return await run_in_threadpool(lambda: _json(action(messages.decode(kind, data))))

    return Route(path, endpoint, methods=["POST"])


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _failed(_: Request, error: Exception) -> Response:
    """Return the response that states an error."""
    if isinstance(error, HTTPException):
        return refused(error.status_code, error.detail)
    if isinstance(error, TooLargeError):
        return refused(413, f"A request may have {MAX_BODY:,} bytes.")
    if isinstance(error, KeyError | FileNotFoundError):
        return refused(404, "There is no such triple, or its files are gone.")
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    more = {"rev": error.revision} if isinstance(error, ConflictError) else {}
    return refused(status, str(error), **more)


def _static_files() -> dict[str, tuple[bytes, str]]:
    """Return the page's files by name: read once, so that no address ever becomes a path."""
    folder = Path(__file__).with_name("static")
    return {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in folder.iterdir() if path.suffix in _TYPES}


def _file(static: dict[str, tuple[bytes, str]], name: str, _: Request) -> Response:
    if name not in static:
        raise HTTPException(404, "There is no such file.")
    data, media_type = static[name]
    return Response(data, media_type=media_type, headers={"Cache-Control": "no-cache"})


def _items(session: Session, request: Request) -> Response:
    query = request.query_params
    try:
        start, limit = int(query.get("start", "0")), int(query.get("limit", "100"))
    except ValueError:
        raise UsageError("start and limit are numbers.") from None
    if query.get("unranked") == "1":
        return _json(session.unranked(start, limit))
    order: Order = "source" if query.get("order") == "source" else "doubt"
    return _json(session.items(query.get("where", "").strip(), order, start, limit, query.get("fresh") == "1"))


def _photo(session: Session, request: Request) -> Response:
    data, media_type = pictures.photo(session.triple(request.path_params["key"]))
    return Response(data, media_type=media_type, headers=_KEEP)


def _map(session: Session, request: Request) -> Response:
    """Return the map and the revision that it had before it was read: an edit meanwhile is noticed as a conflict."""
    key = request.path_params["key"]
    revision = session.revision(key)
    data = pictures.control_map(session.triple(key), session.dataset.info.palette)
    return Response(data, media_type="image/png", headers={"X-Revision": str(revision)})


def _photo_thumbnail(session: Session, request: Request) -> Response:
    data = pictures.photo_thumbnail(session.triple(request.path_params["key"]))
    return Response(data, media_type="image/jpeg", headers=_KEEP)


def _map_thumbnail(session: Session, request: Request) -> Response:
    data = pictures.map_thumbnail(session.triple(request.path_params["key"]), session.dataset.info.palette)
    return Response(data, media_type="image/png", headers=_KEEP)


def _confidence(session: Session, request: Request) -> Response:
    """Return the confidence map as it was stored, with what a person has changed since: it is not kept by a browser."""
    data = pictures.confidence(session.triple(request.path_params["key"]), session.dataset.info.palette)
    return Response(data, media_type="image/png")


def _areas(session: Session, request: Request) -> Response:
    """Return the number of each pixel's area, as 16-bit little-endian numbers."""
    numbers = areas.of_triple(session.triple(request.path_params["key"]))
    return Response(numbers.astype(np.dtype("<u2")).tobytes(), media_type="application/octet-stream", headers=_KEEP)
