"""A Hugging Face hub on localhost: one model, and the refusals that the real one has words for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"

REFUSALS = {
    "org/gone": (404, "RepoNotFound"),
    "org/gated": (403, "GatedRepo"),
    "org/branch": (404, "RevisionNotFound"),
    "org/odd": (418, "Teapot"),
}
"""Status and error code by model."""


@contextmanager
def hub(model: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve the folder as `org/model`, its only branch `main` at COMMIT; the address, and the files asked for."""
    downloaded: list[str] = []
    files = {str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*") if path.is_file()}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET(body=False)

        def do_GET(self, body: bool = True) -> None:
            path = unquote(urlsplit(self.path).path)
            for name, (status, code) in REFUSALS.items():
                if name in path:
                    return self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": "no"}, body)
            if path.startswith("/api/models/org/model/revision/"):
                return self._json({"id": "org/model", "sha": COMMIT}, body)
            if path.startswith("/api/models/org/model/tree/"):
                listed = [{"type": "file", "path": n, "size": len(b), "oid": _sha1(b)} for n, b in files.items()]
                return self._json(listed, body)
            name = path.removeprefix(f"/org/model/resolve/{COMMIT}/")
            if body:
                downloaded.append(name)
            headers = {"ETag": f'"{_sha1(files[name])}"', "X-Repo-Commit": COMMIT}
            return self._answer(200, files[name], headers, body)

        def _json(self, said: object, body: bool) -> None:
            self._answer(200, json.dumps(said).encode(), {"Content-Type": "application/json"}, body)

        def _answer(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", downloaded
    finally:
        server.shutdown()
        server.server_close()


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
