"""MoldUDP64 datagrams in, paced UDP out on one line or more, and a server that answers re-requests.

One thread sends, one answers requests. Both go on after the last message: the end of the session is
repeated, and requests are answered, until :meth:`MoldSender.stop`, so that an ingester that was killed
can catch up.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest.synthetic.datagrams import HEADER, SESSION_NAME, Datagrams, Faults, pack
from ingest.synthetic.itch_stream import ItchStream
from tickloom.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from tickloom.errors import SetupError

SLICE_NS = 2 * NS_PER_MS  # of real time: what is due within it is sent at once
HEARTBEAT_NS = 250 * NS_PER_MS  # of real time without a datagram
# A request may ask for 65,534 messages; so many datagrams answer it at most, because more would overrun
# an ordinary receive buffer (212,992 bytes). The asker sees what came and asks for the rest.
ANSWER_DATAGRAMS_MAX = 32
# Whoever was held up catches up, but not with more at once than an ordinary receive buffer takes.
BURST_DATAGRAMS_MAX = 48
_REQUEST_POLL_S = 0.1


class RerequestServer:
    """Answers MoldUDP64 request packets by unicast, with what was sent so far. One thread.

    Parameters
    ----------
    datagrams : Datagrams
        The history.
    host, port : str, int
        Where to listen; port 0 takes a free one, see :attr:`port`.
    """

    def __init__(self, datagrams: Datagrams, host: str = "127.0.0.1", port: int = 0) -> None:
        self._datagrams = datagrams
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise SetupError(
                f"re-request port {host}:{port} cannot be opened ({error.strerror}); "
                "set another itch.rerequest_port, or see `tickloom doctor` for who holds it"
            ) from error
        self._socket.settimeout(_REQUEST_POLL_S)
        self.port: int = self._socket.getsockname()[1]
        self.sent_messages = 0  # the sender moves it on; nothing beyond is given away
        self.counters: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="rerequest-server", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                request, asker = self._socket.recvfrom(2_048)
            except TimeoutError:
                continue
            except ConnectionError:  # an asker that has gone away: ICMP port unreachable
                continue
            for answer in self.answers(request):
                with contextlib.suppress(OSError):
                    self._socket.sendto(answer, asker)

    def answers(self, request: bytes) -> list[bytes]:
        """The datagrams that answer ``request``; none for what is malformed, foreign or not sent yet."""
        self.counters["requests"] += 1
        if len(request) != HEADER.size:
            self.counters["malformed"] += 1
            return []
        session, sequence, count = HEADER.unpack(request)
        if session != self._datagrams.session:
            self.counters["foreign"] += 1
            return []
        first = sequence - 1
        end = min(first + count, self.sent_messages)
        out: list[bytes] = []
        while 0 <= first < end and len(out) < ANSWER_DATAGRAMS_MAX:
            last = self._datagrams.fit(first, end)
            out.append(self._datagrams.build(first, last))
            self.counters["messages"] += last - first
            first = last
        return out


@dataclass(slots=True)
class Line:
    """Where datagrams go, what they meet with on the way, and what another is to overtake."""

    target: tuple[str, int]
    faults: Faults
    held: list[bytes] = field(default_factory=list)


class MoldSender:
    """Plays a message stream over UDP at ``speed`` times real time.

    Parameters
    ----------
    stream : ItchStream
    host, port : str, int
        Where the datagrams go; a multicast group works too.
    rerequest_host, rerequest_port : str, int
        Where requests are answered; port 0 takes a free one, see ``rerequests.port``.
    speed : float
        Market seconds a real second. 0: as fast as the socket takes it, which drops on a slow receiver.
    session : str
    faults : Faults
        Of the first line; also an attribute, to be set before :meth:`start` by who must know :attr:`packing`.
    other_lines : sequence of (str, int)
        Where the same datagrams go besides: lines B, C, ... Their faults are those of ``lines[1]`` and so on.
    limit : int
        Stop behind so many messages (0: all); :meth:`release` lets the rest go. For tests that stop
        something in mid-session.
    """

    def __init__(
        self,
        stream: ItchStream,
        host: str,
        port: int,
        *,
        rerequest_host: str = "127.0.0.1",
        rerequest_port: int = 0,
        speed: float = 1.0,
        session: str = SESSION_NAME,
        faults: Faults | None = None,
        other_lines: Sequence[tuple[str, int]] = (),
        limit: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.datagrams = Datagrams(stream, session)
        self.packing = pack(stream, round(SLICE_NS * speed) if speed > 0 else 2**62)
        self.rerequests = RerequestServer(self.datagrams, rerequest_host, rerequest_port)
        self.counters: Counter[str] = Counter()
        self.lines = [Line((host, port), faults or Faults())]
        self.lines += [Line(target, Faults()) for target in other_lines]
        self._speed = speed
        self._limit = limit
        self._clock = clock or SystemClock()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stopping = threading.Event()
        self._finished = threading.Event()
        self._released = threading.Event()
        self._quiet_since = 0
        self._thread = threading.Thread(target=self._run, name="mold-sender", daemon=True)

    @property
    def faults(self) -> Faults:
        """What the datagrams of the first line meet with."""
        return self.lines[0].faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.lines[0].faults = faults

    def start(self) -> None:
        """Begin to answer requests and to send. The first message is due at once."""
        self.rerequests.start()
        self._thread.start()

    def release(self) -> None:
        """Go on behind ``limit``."""
        self._released.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until everything was sent once; False if ``timeout_s`` passed before."""
        return self._finished.wait(timeout_s)

    def stop(self) -> None:
        """Stop sending and answering, whatever was sent by then."""
        self._stopping.set()
        self._released.set()
        if self._thread.is_alive():
            self._thread.join()
        self.rerequests.stop()
        self._socket.close()

    @property
    def sent_messages(self) -> int:
        """How many messages were due so far (dropped ones count: the venue did send them)."""
        return self.rerequests.sent_messages

    def _run(self) -> None:
        self._play()
        self._flush_held()
        self._finished.set()
        end = self.datagrams.end_of_session()
        while not self._stopping.is_set():
            self._send_all(end)
            self._stopping.wait(HEARTBEAT_NS / NS_PER_S)

    def _play(self) -> None:
        first, due = self.packing.first.tolist(), self.packing.due_ns.tolist()
        start_ns, origin = self._clock.monotonic_ns(), (due[0] if due else 0)
        index = 0
        while index < len(due) and not self._stopping.is_set():
            if self._limit and first[index] >= self._limit and not self._released.is_set():
                start_ns += self._pause(first[index])
            elapsed = self._clock.monotonic_ns() - start_ns
            reached = origin + round(elapsed * self._speed) if self._speed > 0 else due[-1]
            stop_at = index + BURST_DATAGRAMS_MAX if self._speed > 0 else len(due)
            while index < min(len(due), stop_at) and due[index] <= reached:
                if self._limit and first[index] >= self._limit and not self._released.is_set():
                    break
                self._deliver(index, self.datagrams.build(first[index], first[index + 1]))
                self.rerequests.sent_messages = first[index + 1]
                index += 1
            if index < len(due) and self._speed > 0:
                self._rest(first[index])

    def _rest(self, next_message: int) -> None:
        """Wait for the next slice; say that we live where nothing was sent for long."""
        now = self._clock.monotonic_ns()
        if now - self._quiet_since > HEARTBEAT_NS:
            self._send_all(self.datagrams.heartbeat(next_message))
        self._stopping.wait(SLICE_NS / NS_PER_S)

    def _pause(self, next_message: int) -> int:
        """Heartbeats until released; returns how long it took, ns."""
        self._flush_held()
        began = self._clock.monotonic_ns()
        while not self._released.wait(HEARTBEAT_NS / NS_PER_S):
            self._send_all(self.datagrams.heartbeat(next_message))
        return self._clock.monotonic_ns() - began

    def _deliver(self, index: int, datagram: bytes) -> None:
        for line in self.lines:
            held, line.held = line.held, []
            for payload in line.faults.apply(index, datagram) if line.faults else (datagram,):
                if index in line.faults.reorder:
                    line.held.append(payload)
                else:
                    self._send(payload, line)
            for payload in held:
                self._send(payload, line)

    def _flush_held(self) -> None:
        for line in self.lines:
            held, line.held = line.held, []
            for payload in held:
                self._send(payload, line)

    def _send_all(self, payload: bytes) -> None:
        for line in self.lines:
            self._send(payload, line)

    def _send(self, payload: bytes, line: Line) -> None:
        try:
            self._socket.sendto(payload, line.target)
        except OSError:  # nobody listens, or the buffer is full: a datagram is lost, as on any network
            self.counters["send_errors"] += 1
        self.counters["datagrams"] += 1
        self._quiet_since = self._clock.monotonic_ns()
