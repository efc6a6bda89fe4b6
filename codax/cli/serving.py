"""A folder of static files on the loopback address, for a browser on this machine."""

from __future__ import annotations

import functools
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["LOOPBACK", "Server"]

LOOPBACK = "127.0.0.1"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".codax": "image/x-codax",
}
_HEADERS = {
    # A page that is isolated may share memory with its workers: threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    # Asked for each time whether it has changed: a folder may be written anew.
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}


class _Handler(SimpleHTTPRequestHandler):
    """Answers with files; says nothing and lists nothing."""

    # Types by the machine's own tables may be anything.
    extensions_map = {"": "application/octet-stream"} | _TYPES

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path):
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Quiet(ThreadingHTTPServer):
    """Browsers hang up when they have enough, which is no fault."""

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Server:
    """Serves a folder until the process ends.

    Attributes:
        address: of the folder, with a slash at the end.
    """

    def __init__(self, folder: Path, port: int = 0):
        """Binds the port.

        Args:
            folder: what is served.
            port: 0 for any that is free.

        Raises:
            OSError: the port cannot be had.
        """
        handler = functools.partial(_Handler, directory=str(folder))
        self._server = _Quiet((LOOPBACK, port), handler)
        self.address = f"http://{LOOPBACK}:{self._server.server_port}/"

    def run(self) -> None:
        """Answers; does not return by itself."""
        with self._server:
            self._server.serve_forever()

    def stop(self) -> None:
        """Lets `run` return, from another thread."""
        self._server.shutdown()
