"""A fake Google Sheets server on loopback: parts of the API v4, service account tokens and CSV export."""

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
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "1" * 44
URL = f"https://docs.google.com/spreadsheets/d/{KEY}"


@dataclass
class Sheets:
    """Contents and behaviour of the server; tests modify it.

    Attributes:
        pages: rows by worksheet title; the gid of the n-th worksheet is n * 7.
        answers: (status, Retry-After) of error responses to the next requests.
        faults: what goes wrong with the bodies of the next responses: "cut" (shorter than announced), "cut chunk",
            "trickle" (byte by byte), "silence" (nothing after the headers) or "hang up" (no response).
        redirects: addresses that the next GET requests are redirected to.
        refusal: JSON of an error response to every GET request: its field "code" is the status.
        token_refusal: JSON of the token endpoint's error response.
        impostor: text that answers every GET request, as a captive portal does; "" for none.
        released: set at the end of a test, to end responses that have stalled.
        public: whether anyone may export CSV.
        delay: seconds before each response.
        asked: (path, API key or token) of each GET request.
        columns: number of columns of every worksheet's grid.
        refuse_writing: whether the sheets are read-only.
        scopes: scopes for which tokens were requested.
        url: the server's address.
    """

    pages: dict[str, list[list[str]]]
    answers: list[tuple[int, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    redirects: list[str] = field(default_factory=list)
    refusal: dict[str, Any] = field(default_factory=dict)
    token_refusal: dict[str, str] = field(default_factory=dict)
    impostor: str = ""
    released: threading.Event = field(default_factory=threading.Event)
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
        """Log nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if urlsplit(self.path).path.endswith(":batchUpdate"):
            grid = json.loads(body)["requests"][0]["updateSheetProperties"]["properties"]["gridProperties"]
            self.sheets.columns = grid["columnCount"]
            return self._send(200, "{}")
        if self.sheets.token_refusal:
            return self._send(400, json.dumps(self.sheets.token_refusal))
        fields = parse_qs(body.decode())
        if "assertion" in fields:  # a service account; an authorized user sends a refresh token instead
            claims = fields["assertion"][0].split(".")[1]
            self.sheets.scopes.append(json.loads(urlsafe_b64decode(claims + "=="))["scope"])
        return self._send(200, json.dumps({"access_token": "token of the account", "expires_in": 3600}))

    def do_PUT(self) -> None:
        """Write one column to a range such as 'Sheet 1'!C1:C9."""
        sheets, parts = self.sheets, urlsplit(self.path)
        values = json.loads(self.rfile.read(int(self.headers["content-length"])))["values"]
        if sheets.refuse_writing:
            return self._send(403, json.dumps({"error": {"code": 403, "message": "no", "status": "NO"}}))
        title, _, cells = unquote(parts.path.rsplit("/", 1)[1]).rpartition("!")
        match = re.fullmatch(r"([A-Z])([0-9]+):\1([0-9]+)", cells)
        assert match
        assert parse_qs(parts.query)["valueInputOption"] == ["RAW"]
        rows, column = sheets.pages[title.strip("'").replace("''", "'")], ord(match[1]) - ord("A")
        assert column < sheets.columns
        assert len(values) == int(match[3]) - int(match[2]) + 1
        for row, (value,) in zip(rows[int(match[2]) - 1 :], values, strict=False):
            row += [""] * (column + 1 - len(row))
            row[column] = value
        return self._send(200, "{}")

    def do_GET(self) -> None:
        sheets, parts = self.sheets, urlsplit(self.path)
        sheets.asked.append((parts.path, self.headers.get("x-goog-api-key") or self.headers.get("authorization") or ""))
        time.sleep(sheets.delay)
        if sheets.redirects:
            return self._redirect(sheets.redirects.pop(0))
        if sheets.impostor:
            return self._send(200, sheets.impostor, kind="text/csv")
        if sheets.refusal:
            return self._send(sheets.refusal["code"], json.dumps({"error": sheets.refusal}))
        if sheets.answers:
            status, retry_after = sheets.answers.pop(0)
            return self._send(
                status, json.dumps({"error": {"code": status, "message": "no", "status": "NO"}}), retry_after
            )
        if KEY not in parts.path:
            return self._send(404, json.dumps({"error": {"code": 404, "message": "no", "status": "NOT_FOUND"}}))
        if parts.path.endswith("/export"):
            return self._csv(parse_qs(parts.query).get("gid", ["0"])[0])
        if "/values/" in parts.path:
            title = unquote(parts.path.rsplit("/", 1)[1]).strip("'").replace("''", "'")
            return self._send(
                200, json.dumps({"range": title, "majorDimension": "ROWS", "values": sheets.pages[title]})
            )
        pages = [
            {
                "properties": {
                    "sheetId": place * 7,
                    "title": title,
                    "index": place,
                    "gridProperties": {"rowCount": 1000, "columnCount": sheets.columns},
                }
            }
            for place, title in enumerate(sheets.pages)
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

    def _redirect(self, location: str) -> None:
        self.send_response(307)
        self.send_header("location", location)
        self.send_header("content-length", "0")
        self.end_headers()

    def _send(self, status: int, text: str, retry_after: str = "", kind: str = "application/json") -> None:
        body = text.encode()
        fault = self.sheets.faults.pop(0) if self.sheets.faults else ""
        if fault == "hang up":
            return
        self.send_response(status)
        self.send_header("content-type", kind)
        if fault == "cut chunk":
            self.send_header("transfer-encoding", "chunked")
            body = b"%x\r\n%s\r\n40\r\nonly the beginning of" % (len(body), body)
        else:
            self.send_header("content-length", str(len(body)))
        if retry_after:
            self.send_header("retry-after", retry_after)
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has given up
            self.end_headers()
            self._write(body, fault)

    def _write(self, body: bytes, fault: str) -> None:
        if fault == "cut":
            self.wfile.write(body[:-1])
        elif fault in ("silence", "trickle"):
            for place in range(len(body)):
                if fault == "trickle":
                    self.wfile.write(body[place : place + 1])
                if self.sheets.released.wait(0.05):
                    break
        else:
            self.wfile.write(body)


def start(sheets: Sheets) -> ThreadingHTTPServer:
    """Serve in a thread until shutdown() is called. Sets sheets.url."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"sheets": sheets}))
    sheets.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(
        target=server.serve_forever, args=[0.01], daemon=True
    ).start()  # poll interval; the default makes shutdown() take half a second
    return server


def account(folder: Path, url: str) -> Path:
    """Write the key file of a service account whose tokens the server issues."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    path = folder / "account.json"
    content = {"type": "service_account", "client_email": "a@b.c", "token_uri": f"{url}/token", "private_key": pem}
    path.write_text(json.dumps(content))
    return path


def user(folder: Path) -> Path:
    """Write the key file of a user who has signed in with gcloud."""
    path = folder / "user.json"
    content = {"type": "authorized_user", "client_id": "c", "client_secret": "GOCSPX-s", "refresh_token": "1//secret"}
    path.write_text(json.dumps(content))
    return path
