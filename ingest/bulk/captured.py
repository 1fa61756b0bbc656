"""Captures and files of feeds in, the events of their decoders out; no capture is made on the way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ingest.bulk.source import Emit, bytes_read
from ingest.capture import CaptureBatch, segments
from ingest.decoder import Decoder
from ingest.feeds import Loaded, decoder_for, load_file
from ingest.pipeline import load_capture
from ingest.trusted import TrustedDecoder
from tickloom.errors import CaptureError
from tickloom.events import EventBlock, SymbolTable
from tickloom.instruments import Registry


class CaptureSource:
    """A capture's directory. See :class:`ingest.bulk.source.Source`.

    Raises
    ------
    CaptureError
        There is no capture in it.
    SettingsError
        Its venue is not known, or nobody decodes its feed.
    """

    def __init__(self, path: Path, registry: Registry) -> None:
        self._path = path.resolve()
        if not segments(self._path):
            raise CaptureError(
                f"{path} is a folder without a capture; name its session, DATA_DIR/capture/VENUE/SESSION"
            )
        self.name, self.venue, self.session = str(path), self._path.parent.name, self._path.name
        self.size_bytes = sum(file.stat().st_size for file in segments(self._path))
        self._decoder = decoder_for(self.venue, self.session, registry)
        self._done = 0

    def run(self, emit: Emit) -> None:
        for block in load_capture(self._path, self._decoder, progress=self._progress):
            emit(block, self._decoder.watermark_ns, self._decoder.last_seq)
        emit(*_end(self._decoder))

    def _progress(self, position: int) -> None:
        self._done = position

    def position(self) -> int:
        return self._done

    def report(self) -> dict[str, Any]:
        return {"format": "capture", "messages": _counters(self._decoder)}


class FeedFileSource:
    """A file of a feed. See :class:`ingest.bulk.source.Source`.

    Parameters
    ----------
    day : date, optional
        The trading day, where the file does not tell it.
    """

    def __init__(self, path: Path, venue: str, day: date | None, registry: Registry) -> None:
        self.name, self.venue, self.session = str(path), venue, ""
        self.size_bytes = path.stat().st_size
        self._path, self._day, self._registry = path, day, registry
        self._decoder: Decoder | None = None
        self._loaded: Loaded | None = None

    def run(self, emit: Emit) -> None:
        """Hand all events on. Raises as :func:`ingest.feeds.load_file` does."""

        def straight_on(path: Path, _segment_mb: int) -> _StraightOn:
            self.session = path.name
            self._decoder = TrustedDecoder(decoder_for(self.venue, self.session, self._registry))
            return _StraightOn(self._decoder, emit)

        nowhere = Path("nowhere")  # only its session is asked for
        self._loaded = load_file(self._path, nowhere, self.venue, self._day, self._registry, straight_on)
        if self._decoder is not None:
            emit(*_end(self._decoder))

    def position(self) -> int:
        return bytes_read(self._path)

    def report(self) -> dict[str, Any]:
        counters = _counters(self._decoder) if self._decoder else {}
        found: dict[str, Any] = {"format": "feed", "messages": counters}
        if self._loaded:
            found |= {"foreign": self._loaded.foreign, "damage": self._loaded.damage}
        return found


class _StraightOn:
    """Takes the records that would be captured, and hands on what is in them."""

    def __init__(self, decoder: Decoder, emit: Emit) -> None:
        self._decoder, self._emit = decoder, emit
        self._number = 1

    def append(self, kind: int, ts_recv: int, payload: bytes) -> int:
        return self.append_many(kind, [ts_recv], [payload])

    def append_many(self, kind: int, ts_recv: Sequence[int], payloads: Sequence[bytes]) -> int:
        records = [(kind, ts, payload) for ts, payload in zip(ts_recv, payloads, strict=True)]
        block = self._decoder.decode(CaptureBatch.of(records, self._number))
        self._number += len(records)
        self._emit(block, self._decoder.watermark_ns, self._decoder.last_seq)
        return self._number - 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def _end(decoder: Decoder) -> tuple[EventBlock, int, int]:
    """Nothing more comes: the watermark goes to the end of the day, if the session has ended."""
    watermark = max(decoder.watermark_ns, decoder.end_ns if decoder.ended else 0)
    return EventBlock(decoder.venue, decoder.session, SymbolTable()), watermark, decoder.last_seq


def _counters(decoder: Decoder) -> dict[str, int]:
    return dict(sorted(decoder.counters.items()))
