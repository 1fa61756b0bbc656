"""MoldUDP64 over real sockets: what goes out, what is answered, and faults where they were asked for."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingest.synthetic.datagrams import DATAGRAM_BYTES_MAX, Datagrams, Faults, pack
from ingest.synthetic.itch_stream import ItchStream, itch_stream
from ingest.synthetic.market import make_session
from ingest.synthetic.moldudp64_sender import MoldSender
from ingest.synthetic.parameters import MarketParameters

SESSION = b"TLSYN00001"


@pytest.fixture(scope="module")
def stream() -> ItchStream:
    return itch_stream(make_session(MarketParameters(seed=7, duration_s=2.0)))


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(20.0)
        yield opened


@contextmanager
def sending(stream: ItchStream, receiver: socket.socket, **options: object) -> Iterator[MoldSender]:
    sender = MoldSender(stream, *receiver.getsockname(), **{"speed": 8.0, **options})  # type: ignore[arg-type]
    sender.start()
    try:
        yield sender
    finally:
        sender.stop()


def parse(datagram: bytes) -> tuple[int, int, list[bytes]]:
    """(sequence, count, messages); everything in it must add up."""
    assert datagram[:10] == SESSION
    sequence, count = struct.unpack(">QH", datagram[10:20])
    messages, at = [], 20
    while at < len(datagram):
        length = int.from_bytes(datagram[at : at + 2], "big")
        messages.append(datagram[at + 2 : at + 2 + length])
        at += 2 + length
    assert at == len(datagram)
    assert len(messages) == (0 if count == 0xFFFF else count)
    return sequence, count, messages


def receive_all(receiver: socket.socket) -> list[bytes]:
    """Datagrams up to the end of the session, without heartbeats."""
    out = []
    while True:
        datagram = receiver.recv(65_536)
        kind = datagram[18:20]
        if datagram[:10] == SESSION and kind == b"\xff\xff":
            return [*out, datagram]
        if kind != b"\x00\x00":
            out.append(datagram)


def ask(sender: MoldSender, sequence: int, count: int, session: bytes = SESSION) -> dict[int, bytes]:
    """Sequence number to message, out of the answers that come within a second."""
    found: dict[int, bytes] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(1.0)
        asker.sendto(session + struct.pack(">QH", sequence, count), ("127.0.0.1", sender.rerequests.port))
        try:
            while len(found) < count:
                first, _, messages = parse(asker.recv(65_536))
                found |= {first + index: message for index, message in enumerate(messages)}
        except TimeoutError:
            pass
    return found


def test_every_message_arrives_once_in_order(stream: ItchStream, receiver: socket.socket) -> None:
    """The datagrams carry the stream's messages, numbered from 1, in no more than 1,400 bytes each."""
    with sending(stream, receiver):
        *datagrams, end = receive_all(receiver)
    assert max(map(len, datagrams)) <= DATAGRAM_BYTES_MAX
    expected, found = 1, []
    for datagram in datagrams:
        sequence, count, messages = parse(datagram)
        assert sequence == expected
        expected += count
        found += messages
    assert found == list(stream.messages())
    assert parse(end) == (len(stream) + 1, 0xFFFF, [])


def test_several_messages_share_a_datagram(stream: ItchStream) -> None:
    """A wider slice of time makes fewer, fuller datagrams of the same messages."""
    narrow, wide = pack(stream, 1_000_000), pack(stream, 50_000_000)
    assert len(wide) < len(narrow) < len(stream)
    assert narrow.first[-1] == wide.first[-1] == len(stream)


def test_rerequest_answers_what_was_asked(stream: ItchStream, receiver: socket.socket) -> None:
    """After the end of the session any range is answered with exactly its messages."""
    with sending(stream, receiver) as sender:
        receive_all(receiver)
        found = ask(sender, 101, 150)
    assert found == {number: stream.message(number - 1) for number in range(101, 251)}


def test_long_rerequest_is_answered_piecemeal(stream: ItchStream, receiver: socket.socket) -> None:
    """Asking on from what came, a late joiner gets the whole session."""
    with sending(stream, receiver) as sender:
        receive_all(receiver)
        found: dict[int, bytes] = {}
        while len(found) < len(stream):
            answers = sender.rerequests.answers(SESSION + struct.pack(">QH", len(found) + 1, 0xFFFE))
            for answer in answers:
                first, _, messages = parse(answer)
                found |= {first + index: message for index, message in enumerate(messages)}
    assert [found[number] for number in sorted(found)] == list(stream.messages())


def test_nothing_is_given_away_before_it_was_sent(stream: ItchStream, receiver: socket.socket) -> None:
    """A held sender answers up to where it is, and beyond it once it goes on."""
    with sending(stream, receiver, limit=1_000) as sender:
        while parse(receiver.recv(65_536))[:2] != (sender.sent_messages + 1, 0):
            pass
        held = sender.sent_messages
        assert 1_000 <= held < len(stream)
        assert max(ask(sender, held - 5, 100)) == held
        sender.release()
        receive_all(receiver)
        assert len(ask(sender, held - 5, 100)) == 100


@pytest.mark.parametrize(
    "raw",
    [b"", b"short", b"OTHER     " + struct.pack(">QH", 1, 5), SESSION + struct.pack(">QH", 0, 5)],
    ids=["empty", "short", "foreign session", "sequence zero"],
)
def test_bad_requests_get_no_answer(stream: ItchStream, receiver: socket.socket, raw: bytes) -> None:
    """What is no request of this session is not answered, and the server lives on."""
    with sending(stream, receiver) as sender:
        receive_all(receiver)
        assert sender.rerequests.answers(raw) == []
        assert len(ask(sender, 1, 3)) == 3


def test_faults_do_what_they_say(stream: ItchStream) -> None:
    """Drop sends nothing, duplicate two, corrupt and truncate something whose lengths do not add up."""
    datagram = Datagrams(stream).build(0, 3)
    faults = Faults(
        drop=frozenset({0}), duplicate=frozenset({1}), corrupt=frozenset({2}), truncate=frozenset({3}),
        garbage=frozenset({4}), seed=5,
    )  # fmt: skip
    assert faults.apply(0, datagram) == []
    assert faults.apply(1, datagram) == [datagram, datagram]
    for index in (2, 3):
        (damaged,) = faults.apply(index, datagram)
        with pytest.raises(AssertionError):
            parse(damaged)
    garbage, whole = faults.apply(4, datagram)
    assert garbage[:10] != SESSION
    assert whole == datagram
    assert faults.apply(9, datagram) == [datagram]


def test_faults_reach_the_wire(stream: ItchStream, receiver: socket.socket) -> None:
    """Dropped datagrams are missing, duplicates double, reordered ones swapped with their successor."""
    packing = pack(stream, 16_000_000)
    chosen = Faults(drop=frozenset({5}), duplicate=frozenset({7}), reorder=frozenset({9}))
    with sending(stream, receiver, faults=chosen):
        *datagrams, _ = receive_all(receiver)
    starts = [parse(datagram)[0] - 1 for datagram in datagrams]
    first = packing.first.tolist()
    order = [*range(5), 6, 7, 7, 8, 10, 9, *range(11, len(packing))]
    assert starts == [first[index] for index in order]


def test_seeded_faults_are_reproducible() -> None:
    """The same seed draws the same datagrams, about as many as the rate says."""
    one, again = (Faults.seeded(3, 10_000, drop=0.01, truncate=0.005) for _ in range(2))
    assert one == again
    assert 60 < len(one.drop) < 150
    assert 20 < len(one.truncate) < 90
    assert not one.duplicate
