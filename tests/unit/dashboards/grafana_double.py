"""A server that answers as Grafana does, by the HTTP API documentation of its folder and dashboard endpoints.

Statuses and messages are those of the documentation and of Grafana's source; a real Grafana can't be had in
tests. Faults are set by what a test puts into `refuse`.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "glsa_secret"
USER, PASSWORD = "admin", "s3cret"


class FakeGrafana(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, prefix: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.prefix = prefix
        self.folders: dict[str, str] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.provisioned: set[str] = set()
        self.refuse: dict[tuple[str, str], tuple[int, Any]] = {}
        self.requests: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{self.prefix}"


class Handler(BaseHTTPRequestHandler):
    server: FakeGrafana

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        grafana = self.server
        path = self.path.removeprefix(f"{grafana.prefix}/api")
        grafana.requests.append((method, path))
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or b"null")
        if not self.path.startswith(f"{grafana.prefix}/api"):
            return self._send(200, "<html>a login page</html>")
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] not in (f"Bearer {TOKEN}", f"Basic {basic}"):
            return self._send(401, {"message": "Invalid API key"})
        if (method, path) in grafana.refuse:
            return self._send(*grafana.refuse[method, path])
        if path.startswith("/folders/"):
            uid = path.removeprefix("/folders/")
            if uid not in grafana.folders:
                return self._send(404, {"message": "folder not found", "status": "not-found"})
            return self._send(200, {"id": 1, "uid": uid, "title": grafana.folders[uid]})
        if path == "/folders":
            if body["title"] in grafana.folders.values():
                return self._send(412, {"message": "a folder with the same name already exists"})
            grafana.folders[body["uid"]] = body["title"]
            return self._send(200, {"id": 1, **body})
        if path.startswith("/dashboards/uid/"):
            found = grafana.dashboards.get(path.removeprefix("/dashboards/uid/"))
            if found is None:
                return self._send(404, {"message": "Dashboard not found"})
            return self._send(200, {"dashboard": found, "meta": {"version": found["version"]}})
        if path == "/dashboards/db":
            return self._write(body)
        return self._send(404, {"message": "Not found"})

    def _write(self, body: dict[str, Any]) -> None:
        grafana, board = self.server, body["dashboard"]
        uid = board["uid"]
        if uid in grafana.provisioned:
            return self._send(400, {"message": "Cannot save provisioned dashboard"})
        if body["folderUid"] not in grafana.folders:
            return self._send(400, {"message": "folder not found", "status": "bad-request"})
        there = grafana.dashboards.get(uid)
        if there is not None and not body["overwrite"]:
            return self._send(412, {"message": "The dashboard has been changed by someone else"})
        version = 1 if there is None else there["version"] + 1
        grafana.dashboards[uid] = {**board, "id": 7, "version": version}
        return self._send(200, {"uid": uid, "status": "success", "version": version})

    def _send(self, status: int, body: Any) -> None:
        data = b"" if status == 204 else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def serve(prefix: str = "") -> Iterator[FakeGrafana]:
    server = FakeGrafana(prefix)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
