"""SoupBinTCP: framing, login, counting, heartbeats, silence; both ends against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.errors import DecodeError
from tickloom.soupbin import packets as p
from tickloom.soupbin.session import (
    LOGIN_NS_MAX,
    SILENCE_NS_MAX,
    ClientSession,
    Down,
    Event,
    Message,
    ServerSession,
    State,
    Up,
)

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=6)
PACKETS = st.one_of(
    st.builds(p.Debug, st.binary(max_size=50)),
    st.builds(p.LoginRequest, NAMES, NAMES, NAMES, st.integers(0, 10**20 - 1), st.integers(0, 99_999)),
    st.builds(p.LoginAccepted, NAMES, st.integers(0, 10**20 - 1)),
    st.builds(p.LoginRejected, st.sampled_from("AS")),
    st.builds(p.Sequenced, st.binary(max_size=100)),
    st.builds(p.Unsequenced, st.binary(max_size=100)),
    st.sampled_from([p.ServerHeartbeat(), p.ClientHeartbeat(), p.EndOfSession(), p.Logout()]),
)


@given(st.lists(PACKETS, max_size=20), st.lists(st.integers(1, 40), min_size=1))
def test_however_the_bytes_are_cut(packets: list[p.Packet], sizes: list[int]) -> None:
    """TCP may deliver in any pieces: the packets are the same."""
    raw = b"".join(p.encode(packet) for packet in packets)
    framer, found, at, turn = p.Framer(), [], 0, 0
    while at < len(raw):
        size = sizes[turn % len(sizes)]
        found += framer.feed(raw[at : at + size])
        at, turn = at + size, turn + 1
    assert found == packets


def test_login_request_of_the_specification() -> None:
    """Section 2.2.1: 49 bytes behind the length's two; numbers to the right, names to the left."""
    raw = p.encode(p.LoginRequest("USER", "SECRET", "", 1))
    assert raw == b"\x00\x2fLUSER  SECRET    " + b" " * 10 + b" " * 19 + b"1"


@pytest.mark.parametrize("number", [b"-1", b"+1", b"1_0", b"1 0", b"x"])
@pytest.mark.parametrize("packet", [p.LoginRequest("USER", "SECRET", "", 7), p.LoginAccepted("S1", 7)])
def test_number_that_is_none(packet: p.Packet, number: bytes) -> None:
    """A number is digits: a server that took -1 for the next message wanted could not even answer it."""
    raw = p.encode(packet)
    with pytest.raises(DecodeError, match="is no number"):
        p.Framer().feed(raw[: -len(number)] + number)


@pytest.mark.parametrize("raw", [b"\0\0", b"\0\x01?", b"\0\x02Hx", b"\0\x03Axx", b"\0\x02L1"])
def test_what_is_no_packet(raw: bytes) -> None:
    """It ends the connection: where the next packet begins is not known any more."""
    with pytest.raises(DecodeError):
        p.Framer().feed(raw)
    client = ClientSession("U", "P", "", 1, 0)
    (event,) = client.on_bytes(raw, 0)
    assert isinstance(event, Down)
    assert client.state is State.OVER


class Pair:
    """A client and a server with a stream, joined by hand."""

    def __init__(self, stream: list[bytes], session: str = "", sequence: int = 1) -> None:
        self.stream = stream
        self.server = ServerSession("S1", lambda user, word: word == "PW", lambda user: len(stream), 0)
        self.client = ClientSession("USER", "PW", session, sequence, 0)
        self.client_events: list[Event] = []
        self.server_events: list[Event] = []

    def run(self, now_ns: int = 0) -> None:
        """Until neither has anything to say."""
        while out := self.client.take_output():
            for event in self.server.on_bytes(out, now_ns):
                self.server_events.append(event)
                if isinstance(event, Up):
                    for payload in self.stream[event.sequence - 1 :]:
                        self.server.send_sequenced(payload, now_ns)
            self.client_events += self.client.on_bytes(self.server.take_output(), now_ns)


def test_client_that_was_away_gets_what_it_missed() -> None:
    """It asks for number 3 of five: 3, 4 and 5 come, with their numbers."""
    pair = Pair([b"1", b"2", b"3", b"4", b"5"], "S1", 3)
    pair.run()
    assert pair.client_events == [Up("S1", 3), Message(3, b"3"), Message(4, b"4"), Message(5, b"5")]
    pair.server.send_sequenced(b"6", 0)
    assert pair.client.on_bytes(pair.server.take_output(), 0) == [Message(6, b"6")]


@pytest.mark.parametrize(("asked", "first"), [(0, 3), (1, 1), (3, 3), (9, 3)])
def test_where_the_stream_begins(asked: int, first: int) -> None:
    """0 wants new messages only; a number ahead of the stream is brought back to its end."""
    pair = Pair([b"1", b"2"], sequence=asked)
    pair.run()
    assert pair.client_events[0] == Up("S1", first)


@pytest.mark.parametrize(
    ("password", "session", "text"), [("NO", "", "not authorised"), ("PW", "S0", "no such session")]
)
def test_login_rejected(password: str, session: str, text: str) -> None:
    """A wrong password, and a session that is over, each with its code."""
    pair = Pair([])
    pair.client = ClientSession("USER", password, session, 1, 0)
    pair.run()
    (event,) = pair.client_events
    assert isinstance(event, Down)
    assert text in event.reason
    assert pair.server.state is State.OVER


def test_messages_of_the_client_have_no_number() -> None:
    """What the client sends is unsequenced."""
    pair = Pair([])
    pair.run()
    pair.client.send(b"order", 1)
    assert pair.server.on_bytes(pair.client.take_output(), 1) == [Message(0, b"order")]


def test_heartbeats_after_a_second_of_silence_of_ones_own() -> None:
    """At 999 ms nothing, at 1 s one, and each message puts the next one off."""
    pair = Pair([])
    pair.run()
    for end, beat in ((pair.client, p.ClientHeartbeat()), (pair.server, p.ServerHeartbeat())):
        assert end.on_timer(999 * NS_PER_MS) == []
        assert end.take_output() == b""
        end.on_timer(NS_PER_S)
        assert end.take_output() == p.encode(beat)
        end.send(b"x", NS_PER_S + 1)
        end.take_output()
        end.on_timer(2 * NS_PER_S)
        assert end.take_output() == b""


def test_interval_of_version_4() -> None:
    """A login request with an interval changes the server's."""
    pair = Pair([])
    pair.server.on_bytes(p.encode(p.LoginRequest("USER", "PW", "", 1, 100)), 0)
    pair.server.take_output()
    pair.server.on_timer(100 * NS_PER_MS)
    assert pair.server.take_output() == p.encode(p.ServerHeartbeat())


def test_silence_of_the_other_ends_it() -> None:
    """15 s; one nanosecond less is not enough."""
    pair = Pair([])
    pair.run()
    assert pair.client.on_timer(SILENCE_NS_MAX - 1) == []
    (event,) = pair.client.on_timer(SILENCE_NS_MAX)
    assert isinstance(event, Down)


def test_connection_without_a_login_ends() -> None:
    """Bytes that trickle in do not keep it."""
    server = ServerSession("S1", lambda user, word: True, lambda user: 0, 0)
    for second in range(1, 30):
        assert server.on_bytes(b"", second * NS_PER_S) == []
        assert server.on_timer(second * NS_PER_S) == []
    assert server.on_timer(LOGIN_NS_MAX) == [Down("no login")]


def test_end_of_session_and_logout() -> None:
    """The server ends the stream for good; the client says goodbye."""
    pair = Pair([])
    pair.run()
    pair.server.end_session(0)
    assert pair.client.on_bytes(pair.server.take_output(), 0) == [Down("end of session", finished=True)]
    other = Pair([])
    other.run()
    other.client.log_out(0)
    assert other.server.on_bytes(other.client.take_output(), 0) == [Down("logged out")]


def test_order_before_the_login_ends_it() -> None:
    """Nothing is taken from somebody who has not said who he is."""
    server = ServerSession("S1", lambda user, word: True, lambda user: 0, 0)
    (event,) = server.on_bytes(p.encode(p.Unsequenced(b"O")), 0)
    assert isinstance(event, Down)
