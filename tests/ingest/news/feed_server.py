"""A news server on loopback: each path answers as its handler says, and every request is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Handler = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """``handlers``: path to what answers it. ``requests``: path and headers of all so far."""

    url: str
    handlers: dict[str, Handler]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def of(self, path: str) -> list[dict[str, str]]:
        """Headers of the requests of a path, names in small letters."""
        return [headers for asked, headers in list(self.requests) if asked == path]


@contextmanager
def serving(**handlers: Handler) -> Iterator[Server]:
    """A server whose paths are the handlers' names."""
    server = Server("", {f"/{name}": handler for name, handler in handlers.items()})

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the base class's name
            server.requests.append((self.path, {key.lower(): text for key, text in self.headers.items()}))
            try:
                server.handlers[self.path](self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Nothing: tests look at ``requests``."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def send(http: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """A whole answer; of a header's name, ``_`` is ``-``."""
    http.send_response(status)
    for name, text in headers.items():
        http.send_header(name.replace("_", "-"), text)
    http.send_header("Content-Length", str(len(body)))
    http.end_headers()
    http.wfile.write(body)


def rss(*items: str) -> bytes:
    """A document of items, ``id|title`` each."""
    parts = (one.split("|") for one in items)
    text = "".join(f"<item><guid>{key}</guid><title>{title}</title></item>" for key, title in parts)
    return f'<?xml version="1.0"?><rss version="2.0"><channel>{text}</channel></rss>'.encode()
