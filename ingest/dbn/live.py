"""Databento's live gateway, the client's side without a socket: bytes in, what to send and to capture out.

A connection begins with lines of text, ``key=value|key=value``: the gateway's greeting and challenge, the
client's answer, then its subscriptions and the start. From there on the gateway sends DBN, as in a file:
metadata, then records without end, among them heartbeats, acknowledgements and errors as such.

Sources: Databento, "Live API reference", Raw: authentication, subscription, session start; the answer to the
challenge and the fields of each line as in the package ``databento`` 0.88.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ingest.capture import RecordKind
from ingest.dbn import records as r
from ingest.dbn.files import PAYLOAD_BYTES
from ingest.dbn.kernel import TIME_MAX, whole_records
from ingest.dbn.metadata import metadata_bytes
from ingest.dbn.records import TIME_AT
from tickloom.clock import NS_PER_S
from tickloom.errors import DecodeError, ServiceError

SYMBOLS_A_REQUEST = 500
LINE_BYTES_MAX = 4_096
OVERLAP_NS = NS_PER_S  # records of several schemas are not in the order of their times; they are by so much
_BUCKET_CHARACTERS = 5  # of the key's end: they say which key answers
_TEXT_AT = r.HEAD.itemsize  # of an error or a system record
_TEXT_BYTES = {1: 64, 2: 302, 3: 302}
_ERROR, _SYSTEM = int(r.RType.ERROR), int(r.RType.SYSTEM)
_TOLD = (_ERROR, _SYSTEM)  # of a connection, not of the stream


class RefusedError(ServiceError):
    """The gateway does not let this client in."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. start_ns: replay from that time on, 0: what comes from now on."""

    dataset: str
    schemas: Sequence[str]
    symbols: Sequence[str]
    stype_in: str
    heartbeat_s: int
    snapshot: bool = False
    start_ns: int = 0

    def since(self, start_ns: int) -> Request:
        """The same, replayed from a time on (0: not)."""
        return replace(self, start_ns=start_ns)

    def lines(self) -> bytes:
        """Subscriptions and the start."""
        out = []
        for number, schema in enumerate(self.schemas, 1):
            for low in range(0, len(self.symbols), SYMBOLS_A_REQUEST):
                high = low + SYMBOLS_A_REQUEST
                fields = [f"schema={schema}", f"stype_in={self.stype_in}"]
                fields.append(f"symbols={','.join(self.symbols[low:high])}")
                if self.start_ns:
                    fields.append(f"start={self.start_ns}")
                fields.append(f"snapshot={int(self.snapshot and schema == 'mbo' and not self.start_ns)}")
                fields += [f"id={number}", f"is_last={int(high >= len(self.symbols))}"]
                out.append("|".join(fields))
        return "".join(f"{line}\n" for line in [*out, "start_session=0"]).encode()


def answer(challenge: str, key: str) -> str:
    """Of a challenge: shows that the key is known, and does not tell it."""
    digest = hashlib.sha256(f"{challenge}|{key}".encode()).hexdigest()
    return f"{digest}-{key[-_BUCKET_CHARACTERS:]}"


class LiveClient:
    """One connection.

    Attributes
    ----------
    session_id : str
        The gateway's name for it; empty until it has let us in.
    streaming : bool
        The metadata has come.
    latest_ns : int
        The latest time of a record that came; 0 before the first.
    said : list of str
        Texts of errors and of system records other than heartbeats, for a log that takes them out.
    error : str
        The last error's text.
    """

    def __init__(self, key: str, request: Request) -> None:
        self._key, self._request = key, request
        self._input = b""
        self._output = b""
        self._version = r.VERSIONS[-1]
        self._cuts = np.zeros(2, dtype=np.int64)
        self.session_id = ""
        self.streaming = False
        self.latest_ns = 0
        self.said: list[str] = []
        self.error = ""

    def take_output(self) -> bytes:
        """What is to be sent now."""
        out, self._output = self._output, b""
        return out

    def feed(self, data: bytes) -> list[tuple[RecordKind, bytes]]:
        """What is to be captured of what came: the metadata (SNAPSHOT), pieces of whole records (DATA).

        Raises
        ------
        RefusedError
            The gateway refuses the key or the dataset; its own words.
        DecodeError
            What came is not the gateway's protocol.
        """
        self._input += data
        while not self.session_id:
            line, newline, rest = self._input.partition(b"\n")
            if not newline:
                if len(line) > LINE_BYTES_MAX:
                    raise DecodeError("DBN", "the gateway says no line, as it should before it streams")
                return []
            self._input = rest
            self._line(line.decode("utf-8", "replace"))
        return self._stream()

    def _line(self, line: str) -> None:
        fields = dict(part.partition("=")[::2] for part in line.strip().split("|"))
        if "cram" in fields:
            request = self._request
            said = {
                "auth": answer(fields["cram"], self._key),
                "dataset": request.dataset,
                "encoding": "dbn",
                "ts_out": "0",
                "compression": "none",
                "heartbeat_interval_s": str(request.heartbeat_s),
                "client": "tickloom",
            }
            self._output += "|".join(f"{name}={value}" for name, value in said.items()).encode() + b"\n"
        elif fields.get("success") == "1":
            self.session_id = fields.get("session_id") or "0"
            self._output += self._request.lines()
        elif "success" in fields or "error" in fields:
            why = (fields.get("error") or line.strip()).rstrip(".")
            raise RefusedError(f"the gateway refuses: {why}")
        elif "lsg_version" not in fields:
            raise DecodeError("DBN", f"the gateway says {line[:80]!r} before it streams")

    def _stream(self) -> list[tuple[RecordKind, bytes]]:
        found: list[tuple[RecordKind, bytes]] = []
        if not self.streaming:
            if len(self._input) < r.PREFIX_BYTES:
                return found
            size = metadata_bytes(self._input[: r.PREFIX_BYTES])
            if len(self._input) < size:
                return found
            self._version = self._input[3]
            found.append((RecordKind.SNAPSHOT, self._input[:size]))
            self._input, self.streaming = self._input[size:], True
        room = len(self._input) // PAYLOAD_BYTES + 2
        if len(self._cuts) < room:
            self._cuts = np.zeros(room, dtype=np.int64)
        pieces, _, sound = whole_records(
            np.frombuffer(self._input, dtype=np.uint8), PAYLOAD_BYTES, self._cuts
        )
        if not sound:
            raise DecodeError("DBN", "the gateway's stream has a record whose length cannot be")
        low = 0
        for high in self._cuts[:pieces].tolist():
            piece = self._input[low:high]
            found.append((RecordKind.DATA, piece))
            self._listen(piece)
            low = high
        self._input = self._input[low:]
        return found

    def _listen(self, piece: bytes) -> None:
        """Take note of the time, and of what is said to the client itself."""
        self.latest_ns = max(self.latest_ns, latest_time(np.frombuffer(piece, dtype=np.uint8), TIME_AT))
        places = np.zeros(len(piece) // r.HEAD.itemsize + 1, dtype=np.int64)
        for at in places[: told(np.frombuffer(piece, dtype=np.uint8), places)].tolist():
            raw = piece[at + _TEXT_AT : at + piece[at] * r.WORD_BYTES][: _TEXT_BYTES[self._version]]
            text = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
            if piece[at + 1] == _ERROR:
                self.error = text
                self.said.append(f"error: {text}")
            elif text != "Heartbeat":
                self.said.append(text)


class Recent:
    """The records of the last second of a stream, to ask a gateway for what came since, and no more.

    It replays what has ``start_ns`` or a later time; what is had already is left out, as often as it is had.
    """

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._latest_ns = 0
        self._had: Counter[bytes] = Counter()

    @property
    def start_ns(self) -> int:
        """From when on to replay; 0 where nothing has come yet."""
        return max(0, self._latest_ns - OVERLAP_NS)

    def take(self, piece: bytes) -> None:
        """Whole records that were captured. Those without a time, such as heartbeats, are never replayed."""
        latest_ns = latest_time(np.frombuffer(piece, dtype=np.uint8), TIME_AT)
        if not latest_ns:
            return
        self._latest_ns = max(self._latest_ns, latest_ns)
        self._pieces.append((latest_ns, piece))
        while self._pieces and self._pieces[0][0] < self.start_ns:
            self._pieces.popleft()

    def resume(self) -> None:
        """A replay from ``start_ns`` on begins."""
        self._had = Counter(record for _, piece in self._pieces for record in cut_apart(piece))

    def give_up(self) -> None:
        """None begins: what comes is new."""
        self._had.clear()

    def new(self, piece: bytes) -> bytes:
        """What of a piece has not been had."""
        if not self._had:
            return piece
        kept = []
        for record in cut_apart(piece):
            if self._had[record] > 0 and record[1] not in _TOLD:
                self._had[record] -= 1
            else:
                kept.append(record)
        if latest_time(np.frombuffer(piece, dtype=np.uint8), TIME_AT) > self._latest_ns:
            self._had.clear()
        return b"".join(kept)


def cut_apart(piece: bytes) -> list[bytes]:
    """Whole records, each by itself."""
    found, at = [], 0
    while at < len(piece):
        found.append(piece[at : at + piece[at] * r.WORD_BYTES])
        at += piece[at] * r.WORD_BYTES
    return found


@njit(cache=True, nogil=True)
def told(data, places):  # type: ignore[no-untyped-def]
    """Where the error and system records of whole records begin; how many there are."""
    count = 0
    at = np.int64(0)
    while at < data.size:
        if data[at + 1] == _ERROR or data[at + 1] == _SYSTEM:
            places[count] = at
            count += 1
        at += np.int64(data[at]) * 4
    return count


@njit(cache=True, nogil=True)
def latest_time(data, time_at):  # type: ignore[no-untyped-def]
    """The latest time of whole records, ns; 0 where none has one."""
    latest = np.int64(0)
    at = np.int64(0)
    while at < data.size:
        length, place = np.int64(data[at]) * 4, time_at[data[at + 1]]
        if place + 8 <= length and data[at + 1] != _SYSTEM and data[at + 1] != _ERROR:
            ts = np.int64(0)
            for byte in range(7, -1, -1):
                ts = (ts << 8) | np.int64(data[at + place + byte])
            if latest < ts < TIME_MAX:
                latest = ts
        at += length
    return latest


def warm_up() -> None:
    """Compile what a session runs beside the decoder."""
    nothing: NDArray[np.uint8] = np.frombuffer(b"", dtype=np.uint8)
    told(nothing, np.zeros(1, dtype=np.int64))
    latest_time(nothing, TIME_AT)
