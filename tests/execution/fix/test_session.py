"""Two of our sessions against each other: what is lost comes back, once and in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.fix import tags
from execution.fix.build import Builder, field_bytes
from execution.fix.codec import Codec
from execution.fix.configuration import Delivered, SessionConfiguration
from execution.fix.dictionary import FIX44
from execution.fix.session import Session
from execution.fix.store import MemoryStore
from tests.execution.fix.pair import CLIENT, START_NS, VENUE, Pair, Side, messages, order, types
from tickloom.clock import NS_PER_S
from tickloom.errors import SettingsError
from tickloom.records import replace

CODEC = Codec(FIX44)


def both_up(pair: Pair) -> bool:
    return pair.client.session.logged_on and pair.venue.session.logged_on


def test_logon_and_logout() -> None:
    """A logon each; then a logout each, and both sides know the end."""
    pair = Pair()
    pair.connect()
    assert both_up(pair)
    assert pair.client.logons() == [pair.client.store.epoch]
    pair.client.session.log_out(pair.now_ns)
    pair.pump()
    assert types(pair.wire) == "AA55"
    assert len(pair.client.reasons()) == len(pair.venue.reasons()) == 1


def test_orders_arrive_in_order_and_once() -> None:
    pair = Pair()
    pair.connect()
    for number in range(5):
        pair.client.session.send(b"D", order(f"O{number}"), pair.now_ns)
    pair.pump()
    assert pair.venue.delivered == [f"O{number}" for number in range(5)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_whatever_is_lost_comes_back(steps: list[int], random: object) -> None:
    """Orders sent over a line that loses messages, is cut, or is away: each arrives once, in order."""
    pair = Pair()
    pair.connect()
    sent = []
    for number, step in enumerate(steps):
        if step == 2:
            pair.cut()
        if step == 1 and not both_up(pair):
            pair.connect()
        name = f"O{number}"
        sent.append(name)
        pair.client.session.send(b"D", order(name), pair.now_ns)
        if both_up(pair):
            pair.pump(lose=lambda raw: random.random() < 0.3)  # type: ignore[attr-defined]
    for _ in range(4):  # what a lossy line left in doubt, heartbeats and logons bring to light
        pair.cut()
        pair.connect()
        pair.wait(41)
    assert pair.venue.delivered == sent


def test_gap_is_filled_while_newer_messages_wait() -> None:
    """Behind a lost message nothing is delivered before it; one request asks for all."""
    pair = Pair()
    pair.connect()
    for name in ("A", "B", "C"):
        pair.client.session.send(b"D", order(name), pair.now_ns)
    pair.wire.clear()
    pair.pump(lose=lambda raw: b"\x0111=A\x01" in raw and b"43=Y" not in raw)
    assert pair.venue.delivered == ["A", "B", "C"]
    assert types(pair.wire) == "DD2DDD"
    again = [CODEC.parse(raw) for raw in pair.wire[3:]]
    assert all(message.flag(tags.POSS_DUP_FLAG) and message[tags.ORIG_SENDING_TIME] for message in again)


def test_gap_that_is_not_filled_is_asked_for_again() -> None:
    """A resend request that got lost is repeated, not waited for until the session ends."""
    pair = Pair()
    pair.connect()
    pair.client.session.send(b"D", order("A"), pair.now_ns)
    pair.client.session.send(b"D", order("B"), pair.now_ns)
    pair.pump(lose=lambda raw: b"\x0111=A\x01" in raw or b"\x0135=2\x01" in raw)
    assert pair.venue.delivered == []
    pair.wait(31)
    assert pair.venue.delivered == ["A", "B"]


def test_a_message_that_waited_is_not_late() -> None:
    """SendingTime is judged when a message comes, not when the gap before it is filled."""
    pair = Pair(Side(replace(CLIENT, latency_s_max=0)))
    pair.connect()
    for name in ("A", "B"):
        pair.client.session.send(b"D", order(name), pair.now_ns)
    _, late = messages(pair.client.session.take())
    pair.venue.act(pair.venue.session.receive(late, pair.now_ns))
    pair.now_ns += 125 * NS_PER_S
    pair.pump()
    assert pair.venue.delivered == ["A", "B"]
    assert both_up(pair)


def test_what_may_not_be_sent_again_is_skipped() -> None:
    """Orders are not resent where the sender does not want it; what follows them still arrives."""
    pair = Pair(Side(CLIENT, may_resend=lambda message: message.msg_type != b"D"))
    pair.connect()
    pair.cut()
    pair.client.session.send(b"D", order("OLD"), pair.now_ns)
    status = field_bytes([(11, b"ASKED"), (54, b"1"), (55, b"ALFA")])
    pair.client.session.send(b"H", status, pair.now_ns)
    pair.connect()
    assert pair.venue.delivered == ["ASKED"]


def test_a_long_resend_comes_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counterparty that missed a day gets it bit by bit, in order, whatever is sent meanwhile."""
    monkeypatch.setattr("execution.fix.outgoing.RESEND_MESSAGES_MAX", 2)
    pair = Pair()
    pair.connect()
    pair.cut()
    names = [f"O{number}" for number in range(7)]
    for name in names:
        pair.client.session.send(b"D", order(name), pair.now_ns)
    pair.connect()
    assert pair.venue.delivered == names[:2]
    pair.client.session.send(b"D", order("NEW"), pair.now_ns)
    pair.wait(1)
    assert pair.venue.delivered == [*names, "NEW"]


@pytest.mark.parametrize("committed", [True, False])
def test_crash_of_the_receiver(committed: bool, tmp_path: Path) -> None:
    """What the receiver's store does not count as received comes again after a crash, and nothing else."""
    pair = Pair(venue=Side(VENUE, tmp_path / "venue.db"))
    pair.connect()
    pair.client.session.send(b"D", order("A"), pair.now_ns)
    pair.pump()
    pair.venue.store.commit()
    pair.client.session.send(b"D", order("B"), pair.now_ns)
    pair.venue.act(pair.venue.session.receive(pair.client.session.take(), pair.now_ns))
    if committed:
        pair.venue.store.commit()
    pair.cut()
    pair.venue.store.close()  # type: ignore[attr-defined]
    pair.venue.open()
    pair.connect()
    assert pair.venue.delivered == (["A", "B"] if committed else ["A", "B", "B"])
    assert both_up(pair)


def test_application_that_fails_has_not_received() -> None:
    """An exception between two events leaves the message uncounted; it comes again, marked."""
    pair = Pair()
    pair.connect()
    pair.client.session.send(b"D", order("A"), pair.now_ns)
    raw = pair.client.session.take()
    events = pair.venue.session.receive(raw, pair.now_ns)
    assert isinstance(next(events), Delivered)
    expected = pair.venue.store.next_in
    events.close()  # what an exception in the loop does
    assert pair.venue.store.next_in == expected
    pair.cut()
    pair.connect()
    assert pair.venue.delivered == ["A"]


def test_sender_keeps_numbers_over_a_restart(tmp_path: Path) -> None:
    """What was sent while nobody was there, by a process that is gone, is still asked for and sent."""
    pair = Pair(Side(CLIENT, tmp_path / "client.db"))
    pair.connect()
    pair.cut()
    pair.client.session.send(b"D", order("A"), pair.now_ns)
    pair.client.store.commit()
    pair.client.store.close()  # type: ignore[attr-defined]
    pair.client.open()
    pair.connect()
    assert pair.venue.delivered == ["A"]


def test_a_store_that_was_lost_cannot_pass_for_the_session() -> None:
    """Numbers that begin at 1 again without a word end the session: MsgSeqNum too low."""
    pair = Pair()
    pair.connect()
    pair.cut()
    pair.client.open()
    pair.connect()
    assert not both_up(pair)
    assert "MsgSeqNum too low, expecting 2 but received 1" in pair.client.reasons()[0]


def test_reset_begins_another_numbering() -> None:
    """ResetSeqNumFlag: both begin at 1, and both know that it is another numbering."""
    pair = Pair(Side(replace(CLIENT, reset_on_logon=True)))
    pair.connect()
    pair.client.session.send(b"D", order("A"), pair.now_ns)
    pair.pump()
    pair.cut()
    pair.connect()
    assert both_up(pair)
    assert len(set(pair.client.logons())) == len(set(pair.venue.logons())) == 2
    assert (pair.client.store.next_in, pair.venue.store.next_out) == (2, 2)


def test_numbers_begin_again_at_the_agreed_hour() -> None:
    """Up at that hour: logged out, and at 1 after the next logon; no reset within the day."""
    schedule = {"reset_utc": "00:01"}
    pair = Pair(Side(replace(CLIENT, **schedule)), Side(replace(VENUE, **schedule)))
    pair.connect()
    pair.cut()
    pair.connect()
    assert len(set(pair.client.logons())) == 1
    pair.wait(59)
    assert both_up(pair)
    pair.wait(2)
    assert not both_up(pair)
    pair.cut()
    pair.connect()
    assert both_up(pair)
    assert len(set(pair.client.logons())) == len(set(pair.venue.logons())) == 2
    assert pair.client.store.next_out == pair.venue.store.next_in == 2


def test_acceptor_follows_its_own_schedule() -> None:
    """A counterparty that begins at 1 without the flag is taken, where that was agreed."""
    pair = Pair(venue=Side(replace(VENUE, reset_utc="00:01")))
    pair.connect()
    pair.cut()
    pair.now_ns += 120 * NS_PER_S
    pair.client.open()
    pair.connect()
    assert both_up(pair)


def test_heartbeats_keep_a_quiet_session() -> None:
    """Nothing to say for minutes: heartbeats each way, no test request, nobody ends it."""
    pair = Pair()
    pair.connect()
    pair.wire.clear()
    pair.wait(100)
    assert both_up(pair)
    assert set(types(pair.wire)) == {"0"}
    assert 18 <= len(pair.wire) <= 20


def test_silence_is_questioned_and_ended() -> None:
    """A line that carries nothing: a test request after 12 s, the end after 24 s (HeartBtInt 10)."""
    pair = Pair()
    pair.connect()
    pair.wire.clear()
    pair.wait(11.75, deaf=True)
    assert "1" not in types(pair.wire)
    pair.wait(0.5, deaf=True)
    assert types(pair.wire).count("1") == 2
    pair.wait(11.5, deaf=True)
    assert both_up(pair)
    pair.wait(0.5, deaf=True)
    assert not pair.client.session.logged_on
    assert pair.client.reasons() == ["nothing received for 24.0 s"]


def test_logout_that_is_not_answered() -> None:
    pair = Pair()
    pair.connect()
    pair.client.session.log_out(pair.now_ns, "enough")
    pair.wait(2.5, deaf=True)
    assert pair.client.reasons() == ["logout was not answered"]


def test_logon_that_is_not_answered() -> None:
    pair = Pair()
    pair.client.session.on_connected(pair.now_ns)
    pair.wait(10.5, deaf=True)
    assert pair.client.reasons() == ["no logon in time"]


def test_credentials() -> None:
    """An acceptor that demands a password lets in who has it, and tells who has not."""
    right = replace(CLIENT, logon_fields=((553, "user"), (554, "secret")))
    demanding = replace(VENUE, logon_fields=right.logon_fields)
    pair = Pair(Side(right), Side(demanding))
    pair.connect()
    assert both_up(pair)
    assert not list(pair.client.store.sent(1, 9)), "a password is not kept"
    refused = Pair(Side(replace(right, logon_fields=((553, "user"), (554, "guess")))), Side(demanding))
    refused.connect()
    assert refused.venue.reasons() == ["not authorised"]
    assert refused.client.reasons() == ["logon refused: not authorised"]


def test_fix_42() -> None:
    """The older version: the same session; rejections know no reason above 11."""
    pair = Pair(Side(replace(CLIENT, begin_string="FIX.4.2")), Side(replace(VENUE, begin_string="FIX.4.2")))
    pair.connect()
    pair.client.session.send(b"D", order("A")[:-1] + b"\x0121=1\x01", pair.now_ns)
    pair.client.session.send(b"D", order("B") + b"21=1\x0121=1\x01", pair.now_ns)
    pair.pump()
    assert pair.venue.delivered == ["A"]
    assert pair.client.rejections() == ["Tag appears more than once"]
    assert b"\x01373=" not in next(raw for raw in pair.wire if b"\x0135=3\x01" in raw)


def test_next_expected_msg_seq_num() -> None:
    """A counterparty whose logon says (789) what it misses gets it without asking."""
    pair = Pair()
    pair.connect()
    pair.cut()
    for name in ("A", "B"):
        pair.venue.session.send(b"8", order(name), pair.now_ns)
    pair.venue.session.on_connected(pair.now_ns)
    logon = field_bytes([(98, b"0"), (108, b"30"), (789, b"2")])
    raw = Builder(b"FIX.4.4", b"US", b"THEM").build(b"A", 2, pair.now_ns, logon)
    pair.venue.act(pair.venue.session.receive(raw, pair.now_ns))
    assert types(messages(pair.venue.session.take())) == "A884"


def test_unknown_version_is_refused() -> None:
    with pytest.raises(SettingsError, match="begin_string"):
        SessionConfiguration("US", "THEM", True, frozenset(), begin_string="FIX.5.0")
    with pytest.raises(SettingsError, match="HH:MM"):
        SessionConfiguration("US", "THEM", True, frozenset(), reset_utc="25:00")


# --- anything at all as input -----------------------------------------------------------------------------

TAGS = st.sampled_from([7, 16, 34, 36, 43, 45, 49, 52, 56, 98, 108, 112, 122, 123, 141, 789, 11, 40, 999, 58])
VALUE = st.sampled_from(
    [
        *(
            b"",
            b"0",
            b"1",
            b"-5",
            b"2",
            b"99",
            b"Y",
            b"N",
            b"US",
            b"THEM",
            b"x",
            b"9" * 18,
            b"9" * 30,
            b"\xff",
        ),
        *(b"20261120-00:00:00", b"20260231-00:00:00", b"20261120-00:00:60"),
    ]
)
HEAD = [(49, b"US"), (52, b"20261120-00:00:00"), (56, b"THEM")]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=50),
            st.tuples(
                st.sampled_from([b"A", b"0", b"1", b"2", b"3", b"4", b"5", b"D", b"8", b"*", b"B"]),
                st.integers(-1, 8),
                st.booleans(),
                st.lists(st.tuples(TAGS, VALUE), max_size=6),
            ),
        ),
        max_size=12,
    )
)
def test_nothing_raises_whatever_comes(
    parts: list[bytes | tuple[bytes, int, bool, list[tuple[int, bytes]]]],
) -> None:
    """Any bytes, and well framed messages with any fields, on a session that is up: no exception, the number
    expected never goes back, and what leaves is well formed."""
    session = Session(VENUE, MemoryStore())
    session.on_connected(START_NS)
    logon = field_bytes([(34, b"1"), *HEAD, (98, b"0"), (108, b"30")])
    stream = [framed(b"35=A\x01" + logon)]
    for part in parts:
        if isinstance(part, bytes):
            stream.append(part)
            continue
        msg_type, ahead, complete, fields = part
        head = field_bytes([(34, b"%d" % (len(stream) + ahead)), *HEAD] if complete else [])
        stream.append(framed(b"35=" + msg_type + b"\x01" + head + field_bytes(fields)))
    epoch, expected = session.store.epoch, 1
    for data in stream:
        for _ in session.receive(data, START_NS):
            pass
        for _ in session.on_timer(START_NS + NS_PER_S):
            pass
        for raw in messages(session.take()):
            assert CODEC.problem(CODEC.decode(raw)) is None
        assert session.store.epoch != epoch or session.store.next_in >= expected
        epoch, expected = session.store.epoch, session.store.next_in


def framed(body: bytes) -> bytes:
    message = b"8=FIX.4.4\x019=%d\x01" % len(body) + body
    return message + b"10=%03d\x01" % (sum(message) % 256)
