"""A stand-in for Google Sheets on loopback: the needed part of the API v4, tokens of service accounts, CSV export."""

import csv
import io
import json
import re
import threading
import time
from base64 import urlsafe_b64decode
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "1" * 44


@dataclass
class Sheets:
    """What the server holds and does; tests change it.

    Attributes:
        pages: rows by worksheet title; the gid of the n-th is n * 7.
        answers: statuses to give to the next requests instead of answers, each with its Retry-After.
        public: whether the CSV is handed out to everybody.
        delay: seconds before each answer.
        asked: what was asked, and with which key or token.
        columns: of every worksheet's grid.
        refuse_writing: whether they may be read only.
        scopes: that tokens were asked for.
    """

    pages: dict[str, list[list[str]]]
    answers: list[tuple[int, str]] = field(default_factory=list)
    public: bool = True
    delay: float = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    columns: int = 26
    refuse_writing: bool = False
    scopes: list[str] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    sheets: Sheets

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if urlsplit(self.path).path.endswith(":batchUpdate"):
            grid = json.loads(body)["requests"][0]["updateSheetProperties"]["properties"]["gridProperties"]
            self.sheets.columns = grid["columnCount"]
            return self._send(200, "{}")
        claims = parse_qs(body.decode())["assertion"][0].split(".")[1]
        self.sheets.scopes.append(json.loads(urlsafe_b64decode(claims + "=="))["scope"])
        return self._send(200, json.dumps({"access_token": "token of the account", "expires_in": 3600}))

    def do_PUT(self) -> None:
        """Write one column, as the API does with a range such as 'Sheet 1'!C1:C9."""
        held, parts = self.sheets, urlsplit(self.path)
        values = json.loads(self.rfile.read(int(self.headers["content-length"])))["values"]
        if held.refuse_writing:
            return self._send(403, json.dumps({"error": {"code": 403, "message": "no", "status": "NO"}}))
        title, _, cells = unquote(parts.path.rsplit("/", 1)[1]).rpartition("!")
        match = re.fullmatch(r"([A-Z])([0-9]+):\1([0-9]+)", cells)
        assert match
        assert parse_qs(parts.query)["valueInputOption"] == ["RAW"]
        rows, column = held.pages[title.strip("'").replace("''", "'")], ord(match[1]) - ord("A")
        assert column < held.columns
        assert len(values) == int(match[3]) - int(match[2]) + 1
        for row, (value,) in zip(rows[int(match[2]) - 1 :], values, strict=False):
            row += [""] * (column + 1 - len(row))
            row[column] = value
        return self._send(200, "{}")

    def do_GET(self) -> None:
        held, parts = self.sheets, urlsplit(self.path)
        held.asked.append((parts.path, self.headers.get("x-goog-api-key") or self.headers.get("authorization") or ""))
        time.sleep(held.delay)
        if held.answers:
            status, later = held.answers.pop(0)
            return self._send(status, json.dumps({"error": {"code": status, "message": "no", "status": "NO"}}), later)
        if KEY not in parts.path:
            return self._send(404, json.dumps({"error": {"code": 404, "message": "no", "status": "NOT_FOUND"}}))
        if parts.path.endswith("/export"):
            return self._csv(parse_qs(parts.query).get("gid", ["0"])[0])
        if "/values/" in parts.path:
            title = unquote(parts.path.rsplit("/", 1)[1]).strip("'").replace("''", "'")
            return self._send(200, json.dumps({"range": title, "majorDimension": "ROWS", "values": held.pages[title]}))
        pages = [
            {
                "properties": {
                    "sheetId": place * 7,
                    "title": title,
                    "index": place,
                    "gridProperties": {"rowCount": 1000, "columnCount": held.columns},
                }
            }
            for place, title in enumerate(held.pages)
        ]
        return self._send(
            200, json.dumps({"spreadsheetId": KEY, "properties": {"title": "Our colours"}, "sheets": pages})
        )

    def _csv(self, gid: str) -> None:
        if not self.sheets.public:
            return self._send(200, "<html>Sign in</html>", kind="text/html; charset=utf-8")
        text = io.StringIO()
        csv.writer(text).writerows(list(self.sheets.pages.values())[int(gid) // 7])
        return self._send(200, text.getvalue(), kind="text/csv")

    def _send(self, status: int, text: str, later: str = "", kind: str = "application/json") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if later:
            self.send_header("retry-after", later)
        with suppress(BrokenPipeError):  # the client no longer waits
            self.end_headers()
            self.wfile.write(body)


def start(sheets: Sheets) -> ThreadingHTTPServer:
    """Serve in a thread until shutdown() is called; sheets.url is the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"sheets": sheets}))
    sheets.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(
        target=server.serve_forever, args=[0.01], daemon=True
    ).start()  # else shutdown() takes half a second
    return server
