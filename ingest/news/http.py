"""A source's URL in, its document or its lines out, within limits: HTTP by ``httpx``.

Conditional requests (RFC 9110, 13): what the last answer had as ETag and Last-Modified goes with the next
request, and 304 costs a source nothing. The size counts behind the decompression, which is done here, so that
a small answer cannot become a large one.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import Message
from typing import Self

import httpx

from ingest.news.records import Head
from ingest.news.sources import Source
from tickloom.errors import FeedError

REDIRECTS_MAX = 5
RETRY_AFTER_S_MAX = 3_600
CHUNK_BYTES = 64 * 1024
AGENT = "tickloom-news/1"
_GZIP_WINDOW = 31  # zlib's: gzip's own head


class FetchError(FeedError):
    """A source that could not be read.

    Attributes
    ----------
    reason : str
        ``status``, ``timeout``, ``connection``, ``too_large``, ``encoding`` or ``file``.
    retry_after_s : float
        What the server asks for; 0: nothing.
    """

    def __init__(self, source: str, reason: str, detail: str, retry_after_s: float = 0.0) -> None:
        self.reason, self.detail, self.retry_after_s = reason, detail, retry_after_s
        super().__init__(f"{source}: {reason}: {detail}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document as it came, decompressed."""

    head: Head
    body: bytes


class HttpSource:
    """One source behind HTTP.

    Parameters
    ----------
    timeout_ms : int
        For a document, from the request to its last byte; for a stream, of silence.
    bytes_max : int
        Of a document, or of a line of a stream.
    """

    def __init__(self, source: Source, timeout_ms: int, bytes_max: int) -> None:
        self._source, self._timeout_s, self._bytes_max = source, timeout_ms / 1_000, bytes_max
        self._client = httpx.AsyncClient(
            follow_redirects=True,
            max_redirects=REDIRECTS_MAX,
            timeout=httpx.Timeout(self._timeout_s),
            trust_env=not source.is_local,
            headers={"User-Agent": AGENT, "Accept-Encoding": "gzip"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def fetch(self, last: Head | None) -> Fetched | None:
        """The document; None where it is what ``last`` says it was.

        Raises
        ------
        FetchError
            There is none, or it is too large or too slow.
        """
        asked = {"If-None-Match": last.etag, "If-Modified-Since": last.modified} if last else {}
        headers = {name: value for name, value in asked.items() if value}
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._client.stream("GET", self._source.url, headers=headers) as answer:
                    if answer.status_code == httpx.codes.NOT_MODIFIED:
                        return None
                    self._check_status(answer)
                    body = bytearray()
                    async for chunk in self._unpacked(answer):
                        body += chunk
                        if len(body) > self._bytes_max:
                            raise self._too_large("document")
                    return Fetched(_head(self._source, answer), bytes(body))
        except (TimeoutError, httpx.TimeoutException):
            raise self._error("timeout", f"not there after {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, zlib.error, OSError, ValueError) as error:
            raise self._error("connection", f"{type(error).__name__}: {error}") from None

    async def lines(self) -> AsyncIterator[tuple[Head, list[bytes]]]:
        """Lines of a stream as they come, those of one piece together. Returns when the server ends it.

        Raises
        ------
        FetchError
            The connection fails, is silent for too long, or a line is too long.
        """
        try:
            async with self._client.stream("GET", self._source.url) as answer:
                self._check_status(answer)
                head, rest = _head(self._source, answer), bytearray()
                async for chunk in self._unpacked(answer):
                    rest += chunk
                    *whole, rest = rest.split(b"\n")
                    if max(map(len, (*whole, rest))) > self._bytes_max:
                        raise self._too_large("line")
                    found = [bytes(line) for line in whole if line.strip()]
                    if found:
                        yield head, found
        except httpx.TimeoutException:
            raise self._error("timeout", f"silent for {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, zlib.error, OSError, ValueError) as error:
            raise self._error("connection", f"{type(error).__name__}: {error}") from None

    async def _unpacked(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        """The body, in pieces that are never much larger than :data:`CHUNK_BYTES`."""
        encoding = answer.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise self._error("encoding", f"Content-Encoding {encoding[:40]} was not asked for")
        unpack = None if encoding == "identity" else zlib.decompressobj(_GZIP_WINDOW)
        async for chunk in answer.aiter_raw(CHUNK_BYTES if unpack else None):
            if unpack is None:
                yield chunk
                continue
            piece = chunk
            while piece and not unpack.eof:
                yield unpack.decompress(piece, CHUNK_BYTES)
                piece = unpack.unconsumed_tail
        if unpack is not None and not unpack.eof:
            raise self._error("connection", "the compressed body was cut off")

    def _check_status(self, answer: httpx.Response) -> None:
        if answer.status_code != httpx.codes.OK:
            raise self._error("status", str(answer.status_code), _retry_after_s(answer))

    def _too_large(self, what: str) -> FetchError:
        return self._error("too_large", f"a {what} of more than {self._bytes_max} bytes")

    def _error(self, reason: str, detail: str, retry_after_s: float = 0.0) -> FetchError:
        return FetchError(self._source.name, reason, detail[:200], retry_after_s)


def _head(source: Source, answer: httpx.Response) -> Head:
    content = Message()
    content["content-type"] = answer.headers.get("content-type", "")
    charset = content.get_content_charset("") or ""
    etag, modified = answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
    return Head(source.name, source.kind, charset[:40], etag[:400], modified[:100])


def _retry_after_s(answer: httpx.Response) -> float:
    """Retry-After in seconds (RFC 9110, 10.2.3); as a date it is not looked at."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), RETRY_AFTER_S_MAX) if text.isascii() and text.isdigit() else 0.0
