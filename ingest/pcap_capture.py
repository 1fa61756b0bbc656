"""The UDP payloads of a packet capture in, records of a session's capture out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ingest.capture import RecordKind
from ingest.capture_target import OpenWriter, new_capture
from ingest.pcap import read_pcap
from tickloom.errors import DecodeError

RECORDS_AT_ONCE = 256


def capture_pcap(
    source: Path,
    path: Path,
    segment_mb: int,
    end: bytes | None = None,
    open_writer: OpenWriter = new_capture,
) -> tuple[int, int, str]:
    """Write a file's datagrams with their times to a new capture; a file that is cut off gives what is whole.

    Parameters
    ----------
    path : Path
        The capture's directory.
    end : bytes, optional
        A last CONTROL record, which tells the decoder that no more comes.

    Returns
    -------
    packets, foreign : int
        Datagrams, and frames that are no UDP over IPv4.
    damage : str
        Why the file could not be read to its end; empty if it could.

    Raises
    ------
    CaptureError
        The session has a capture already.
    """
    packets = foreign = 0
    times: list[int] = []
    payloads: list[bytes] = []
    latest_ns = 0
    frames = Frames(source)
    with open_writer(path, segment_mb) as writer:
        for ts_recv, payload in frames:
            latest_ns = max(latest_ns, ts_recv)
            if payload is None:
                foreign += 1
                continue
            packets += 1
            times.append(ts_recv)
            payloads.append(payload)
            if len(payloads) == RECORDS_AT_ONCE:
                writer.append_many(RecordKind.DATA, times, payloads)
                times, payloads = [], []
        if payloads:
            writer.append_many(RecordKind.DATA, times, payloads)
        if end is not None:
            writer.append(RecordKind.CONTROL, latest_ns, end)
    return packets, foreign, frames.damage


class Frames:
    """Frames of a file up to its end, or to where it is damaged."""

    def __init__(self, source: Path) -> None:
        self.error: DecodeError | None = None
        self._source = source

    @property
    def damage(self) -> str:
        """Why the file could not be read to its end; empty if it could, or was not yet."""
        return str(self.error or "")

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        try:
            yield from read_pcap(self._source)
        except DecodeError as error:
            self.error = error
