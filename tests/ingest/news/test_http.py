"""Fetching from a real server on loopback: conditional requests, and everything that goes wrong."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import pytest

from ingest.news.http import Fetched, FetchError, HttpSource
from ingest.news.records import Head
from ingest.news.sources import Source
from tests.ingest.news.feed_server import Handler, rss, send, serving

BYTES_MAX = 100_000
BODY = rss("1|One")


def fetch(handler: Handler, last: Head | None = None, timeout_ms: int = 10_000) -> Fetched | None:
    with serving(feed=handler) as server:
        source = Source("s", f"{server.url}/feed", None, "rss", 1.0, False)

        async def go() -> Fetched | None:
            async with HttpSource(source, timeout_ms, BYTES_MAX) as http:
                return await http.fetch(last)

        return asyncio.run(go())


def test_what_the_answer_says_goes_with_the_next_request() -> None:
    """ETag and Last-Modified come back as If-None-Match and If-Modified-Since, and 304 is no document."""
    modified = "Sun, 22 Nov 2026 07:00:00 GMT"

    def answer(http: BaseHTTPRequestHandler) -> None:
        known = (
            http.headers.get("If-None-Match") == '"v1"' and http.headers.get("If-Modified-Since") == modified
        )
        if known:
            send(http, b"", 304)
        else:
            send(http, BODY, ETag='"v1"', Last_Modified=modified, Content_Type="text/xml; charset=ISO-8859-1")

    first = fetch(answer)
    assert first == Fetched(Head("s", "rss", "iso-8859-1", '"v1"', modified), BODY)
    assert fetch(answer, first.head) is None


def test_compressed_body() -> None:
    """gzip is what is asked for, and what is unpacked."""

    def answer(http: BaseHTTPRequestHandler) -> None:
        assert http.headers["Accept-Encoding"] == "gzip"
        send(http, gzip.compress(BODY), Content_Encoding="gzip")

    found = fetch(answer)
    assert found is not None
    assert found.body == BODY


def test_redirect_is_followed() -> None:
    """A feed that has moved says where to."""

    def moved(http: BaseHTTPRequestHandler) -> None:
        send(http, b"", 301, Location="/other")

    with serving(feed=moved, other=lambda http: send(http, BODY)) as server:
        source = Source("s", f"{server.url}/feed", None, "rss", 1.0, False)

        async def go() -> Fetched | None:
            async with HttpSource(source, 10_000, BYTES_MAX) as http:
                return await http.fetch(None)

        found = asyncio.run(go())
    assert found is not None
    assert found.body == BODY


def large(http: BaseHTTPRequestHandler) -> None:
    """Ten megabytes, as fast as the client takes them."""
    http.send_response(200)
    http.send_header("Content-Length", str(10_000_000))
    http.end_headers()
    for _ in range(100):
        http.wfile.write(bytes(100_000))


def cut(http: BaseHTTPRequestHandler) -> None:
    """Less than was said, and the connection is gone."""
    http.send_response(200)
    http.send_header("Content-Length", "5000")
    http.end_headers()
    http.wfile.write(BODY)
    http.close_connection = True


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (lambda http: send(http, b"no", 500), "status"),
        (lambda http: send(http, b"", 304), None),
        (lambda http: send(http, b"", 301, Location="file:///etc/passwd"), "connection"),
        (lambda http: send(http, b"", 302, Location="/feed"), "connection"),
        (lambda http: send(http, BODY, Content_Encoding="br"), "encoding"),
        (lambda http: send(http, b"no gzip", Content_Encoding="gzip"), "connection"),
        (lambda http: send(http, gzip.compress(BODY)[:-9], Content_Encoding="gzip"), "connection"),
        (lambda http: send(http, gzip.compress(bytes(200_000_000), 1), Content_Encoding="gzip"), "too_large"),
        (large, "too_large"),
        (cut, "connection"),
    ],
    ids=[
        "500",
        "304",
        "to a file",
        "in a circle",
        "brotli",
        "no gzip",
        "cut gzip",
        "gzip bomb",
        "10 MB",
        "cut",
    ],
)
def test_what_goes_wrong(handler: Handler, reason: str | None) -> None:
    """Each is an error with its reason; what is too large is not read to its end."""
    if reason is None:
        assert fetch(handler) is None
        return
    with pytest.raises(FetchError) as caught:
        fetch(handler)
    assert caught.value.reason == reason


def test_slow_server_is_given_up() -> None:
    """The time counts for the whole document: a server that sends a byte now and then does not hold us."""
    done = threading.Event()

    def drip(http: BaseHTTPRequestHandler) -> None:
        http.send_response(200)
        http.send_header("Content-Length", "1000")
        http.end_headers()
        while not done.wait(0.02):
            http.wfile.write(b" ")

    try:
        with pytest.raises(FetchError) as caught:
            fetch(drip, timeout_ms=200)
    finally:
        done.set()
    assert caught.value.reason == "timeout"


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7), ("999999", 3_600), ("Sun, 22 Nov 2026 07:00:00 GMT", 0)]
)
def test_server_says_when_to_come_back(text: str, seconds: int) -> None:
    """Retry-After in seconds, up to an hour."""
    with pytest.raises(FetchError) as caught:
        fetch(lambda http: send(http, b"", 503, Retry_After=text))
    assert caught.value.retry_after_s == seconds


def stream(*pieces: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(http: BaseHTTPRequestHandler) -> None:
        http.send_response(200)
        http.end_headers()
        for piece in pieces:
            http.wfile.write(piece)
            http.wfile.flush()
        http.close_connection = True

    return answer


def lines(handler: Handler) -> list[bytes]:
    with serving(feed=handler) as server:
        source = Source("s", f"{server.url}/feed", None, "jsonl", 1.0, True)

        async def go() -> list[bytes]:
            async with HttpSource(source, 10_000, 50) as http:
                return [line async for _, some in http.lines() for line in some]

        return asyncio.run(go())


def test_stream_of_lines() -> None:
    """Lines as they are cut by the newline, however they come; empty ones keep a connection alive."""
    assert lines(stream(b'{"title":', b' "a"}\n\n', b"\r\n", b'{"title": "b"}\n{"ti')) == [
        b'{"title": "a"}',
        b'{"title": "b"}',
    ]
    with pytest.raises(FetchError, match="too_large"):
        lines(stream(b"x" * 51))
