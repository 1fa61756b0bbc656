"""One FIX session as a state machine: bytes and time in, bytes and events out. Pure but for its store.

Who owns the socket gives it what was read and iterates over the events; an application answers between
two events with :meth:`Session.send`. Then he commits the store, and writes what :meth:`Session.take`
gives::

    for event in session.receive(data, now_ns):
        ...
    store.commit()
    writer.write(session.take())

An application message counts as received when the event behind it is asked for: what the application has
made durable by then is never lost, and what it had not is asked for again after a crash, with
PossDupFlag. FIX 4.4 with Errata 20030618, Volume 2, "FIX Session" and its test cases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from execution.fix import tags as tag_of
from execution.fix.build import Fields
from execution.fix.codec import Codec, Framer, Garbled, Message
from execution.fix.configuration import (
    ADMIN,
    Delivered,
    Ended,
    Event,
    LoggedOn,
    Noted,
    Rejected,
    SessionConfiguration,
)
from execution.fix.dictionary import DICTIONARIES
from execution.fix.outgoing import REASON_TEXTS, Outgoing
from execution.fix.shape import Problem, Reason
from execution.fix.store import Store
from execution.fix.values import parse_timestamp
from execution.fix.waiting import Due, Gap, Liveness
from tickloom.clock import NS_PER_S
from tickloom.errors import DecodeError, FieldError

HEARTBEAT_S_MAX = 3_600
BUSINESS_UNSUPPORTED = 3  # BusinessRejectReason (380)
BUSINESS_FIELD_MISSING = 5
_NUMBER = re.compile(rb"[0-9]{1,18}")


class Session:
    """One session; it lives on from connection to connection.

    Parameters
    ----------
    may_resend : Callable[[Message], bool], optional
        Whether an application message that the counterparty missed is sent again; else it is skipped
        over. Default: all are.
    """

    def __init__(
        self,
        configuration: SessionConfiguration,
        store: Store,
        may_resend: Callable[[Message], bool] = lambda message: True,
    ) -> None:
        self.configuration, self.store = configuration, store
        self.codec = Codec(DICTIONARIES[configuration.begin_string.encode()], configuration.user_fields)
        self._out = Outgoing(configuration, store, self.codec, may_resend)
        self._app_types = frozenset(name.encode() for name in configuration.app_types)
        self._expected_ids = (configuration.target.encode(), configuration.sender.encode())
        self._begin(0)

    def _begin(self, now_ns: int) -> None:
        """What is true at the beginning of a connection, and without one."""
        self.connected = self.logged_on = False
        self._framer = Framer()
        self._gap = Gap()
        self._liveness = Liveness(self.configuration.heartbeat_s, now_ns)
        self._sent_logon = self._sent_logout = self._sent_reset = False
        self._logout_ns = 0
        self._good = self._waited = False
        self._out.drop()

    # --- the connection --------------------------------------------------------------------------------

    def on_connected(self, now_ns: int) -> None:
        """There is a connection; an initiator logs on."""
        self._begin(now_ns)
        self.connected = True
        if self.configuration.initiator:
            self._sent_reset = self.configuration.reset_on_logon or self._reset_is_due(now_ns)
            self._sent_logon = True
            if self._sent_reset:
                self.store.reset()
            self.store.since_ns = self.store.since_ns or now_ns
            self._out.logon(self.configuration.heartbeat_s, self._sent_reset, now_ns)

    def _reset_is_due(self, now_ns: int) -> bool:
        """Whether this numbering belongs to a day that is over."""
        return 0 < self.store.since_ns < self.configuration.last_reset_ns(now_ns)

    def on_disconnected(self) -> None:
        """There is none any more. What is sent from now on waits for a resend."""
        self._begin(0)

    def take(self) -> bytes:
        """What is to be written now; the store is to be committed first."""
        return self._out.take()

    def send(self, msg_type: bytes, body: bytes, now_ns: int, header: Fields = ()) -> int:
        """Number, store and send an application message; its MsgSeqNum.

        Without a session (or behind a logout) it is stored only, and the counterparty finds the gap when
        it logs on.
        """
        wire = self.logged_on and not self._sent_logout
        return self._out.message(msg_type, body, now_ns, header, wire)

    def reject_fields(self, message: Message, error: FieldError, now_ns: int) -> None:
        """The application misses a field: BusinessMessageReject, "conditionally required field missing"."""
        self._out.business_reject(message, BUSINESS_FIELD_MISSING, str(error), now_ns)

    def log_out(self, now_ns: int, text: str = "") -> None:
        """Ask for the end; :class:`Ended` follows the answer, or the lack of one."""
        if self.logged_on and not self._sent_logout:
            self._logout(now_ns, text)

    def _logout(self, now_ns: int, text: str = "") -> None:
        self._out.logout(now_ns, text)
        self._sent_logout, self._logout_ns = True, now_ns

    # --- time ------------------------------------------------------------------------------------------

    def on_timer(self, now_ns: int) -> Iterator[Event]:
        """What time itself demands; to be called several times a second while there is a connection."""
        if not self.connected:
            return
        if not self.logged_on:
            if self._liveness.silent_ns(now_ns) >= self.configuration.logon_timeout_s * NS_PER_S:
                yield from self._end("no logon in time")
            return
        if self._sent_logout and now_ns - self._logout_ns >= self.configuration.logout_timeout_s * NS_PER_S:
            yield from self._end("logout was not answered")
            return
        if self._reset_is_due(now_ns):
            self.log_out(now_ns, "end of the session's day")
        self._out.resume(now_ns)
        overdue = self._gap.overdue(now_ns)
        if overdue:
            self._ask(overdue, now_ns)
        due = self._liveness.due(now_ns, self._out.last_sent_ns)
        if due is Due.HEARTBEAT:
            self._out.heartbeat(now_ns)
        elif due is Due.TEST_REQUEST:
            self._out.test_request(now_ns)
        elif due is Due.END:
            yield from self._end(f"nothing received for {self._liveness.silent_ns(now_ns) / NS_PER_S:.1f} s")

    # --- what comes in ---------------------------------------------------------------------------------

    def receive(self, data: bytes, now_ns: int) -> Iterator[Event]:
        """Take what was read. To be iterated to its end, or to :class:`Ended`."""
        for frame in self._framer.feed(data):
            if not self.connected:
                return
            if isinstance(frame, bytes):
                try:
                    message = self.codec.parse(frame)
                except DecodeError as error:
                    frame = Garbled(frame, error.reason)
                else:
                    yield from self._take_in(message, now_ns)
                    continue
            yield Noted(f"garbled, ignored: {frame.reason}: {frame.data[:80]!r}")
            if not self.logged_on:
                yield from self._end("the first message is no valid logon")

    def _take_in(self, message: Message, now_ns: int) -> Iterator[Event]:
        yield from self._handle(message, now_ns)
        self._waited = True
        while self.logged_on and (kept := self._gap.next(self.store.next_in)) is not None:
            if kept.msg_type in (b"A", b"2"):  # was answered when it came
                self.store.next_in += 1
            else:
                yield from self._handle(kept, now_ns)
        self._waited = False
        self._gap.reached(self.store.next_in)

    def _handle(self, message: Message, now_ns: int) -> Iterator[Event]:
        if not self.logged_on and message.msg_type != b"A":
            refused = self._sent_logon and message.msg_type == b"5"
            why = f"logon refused: {message.text(tag_of.TEXT, 'no reason given')}"
            yield from self._end(why if refused else "the first message is no logon")
            return
        if message.begin_string != self.codec.dictionary.begin_string:
            yield from self._other_version(message, now_ns)
            return
        if not _NUMBER.fullmatch(message.get(tag_of.MSG_SEQ_NUM) or b""):
            self._logout(now_ns, "MsgSeqNum missing or no number")
            yield from self._end("MsgSeqNum missing or no number")
            return
        problem = self.codec.problem(message)
        if problem is not None:
            yield from self._reject(message, problem, now_ns)
            return
        handler = _HANDLERS.get(message.msg_type, Session._on_application)
        yield from handler(self, message, now_ns)

    def _other_version(self, message: Message, now_ns: int) -> Iterator[Event]:
        if message.msg_type == b"5" or not self.logged_on:
            yield from self._end("BeginString is another one")
            return
        self._logout(now_ns, "Incorrect BeginString")
        self.store.next_in += 1

    def _reject(self, message: Message, problem: Problem, now_ns: int) -> Iterator[Event]:
        where = f", field {problem.tag}" if problem.tag else ""
        text = f"{REASON_TEXTS[problem.reason]}{where}"
        if not self.logged_on:
            yield from self._end(f"logon is not valid: {text}")
            return
        yield Noted(f"rejected: {text}: {message!r}")
        self._out.reject(message, problem, now_ns)
        if message.msg_type not in (b"A", b"4"):
            self.store.next_in += message[tag_of.MSG_SEQ_NUM] == b"%d" % self.store.next_in

    def _verified(
        self, message: Message, now_ns: int, high: bool = True, low: bool = True
    ) -> Iterator[Event]:
        """Time, identity and number; :attr:`_good` tells whether to go on with the message."""
        self._good = False
        if not self._waited and not self._time_is_right(message, now_ns):
            yield from self._refuse(message, Problem(Reason.SENDING_TIME_ACCURACY), now_ns)
            return
        ids = (message.get(tag_of.SENDER_COMP_ID), message.get(tag_of.TARGET_COMP_ID))
        if ids != self._expected_ids:
            yield from self._refuse(message, Problem(Reason.COMP_ID_PROBLEM), now_ns)
            return
        self._liveness.heard(now_ns)
        seq_num = message.seq_num
        if high and seq_num > self.store.next_in:
            yield from self._too_high(message, seq_num, now_ns)
        elif low and seq_num < self.store.next_in:
            yield from self._too_low(message, seq_num, now_ns)
        else:
            self._good = True

    def _time_is_right(self, message: Message, now_ns: int) -> bool:
        allowed_ns = self.configuration.latency_s_max * NS_PER_S
        return not allowed_ns or abs(now_ns - _time(message[tag_of.SENDING_TIME])) <= allowed_ns

    def _refuse(self, message: Message, problem: Problem, now_ns: int) -> Iterator[Event]:
        """A reject that the session cannot go on after."""
        yield from self._reject(message, problem, now_ns)
        if self.logged_on:
            self._logout(now_ns)

    def _too_high(self, message: Message, seq_num: int, now_ns: int) -> Iterator[Event]:
        yield Noted(f"gap: expected {self.store.next_in}, received {seq_num}")
        self._gap.keep(seq_num, message)
        if not self._gap.open:
            self._ask(seq_num - 1, now_ns)

    def _ask(self, gap_end: int, now_ns: int) -> None:
        self._out.resend_request(self.store.next_in, now_ns)
        self._gap.asked(gap_end, now_ns)

    def _too_low(self, message: Message, seq_num: int, now_ns: int) -> Iterator[Event]:
        if not message.flag(tag_of.POSS_DUP_FLAG):
            text = f"MsgSeqNum too low, expecting {self.store.next_in} but received {seq_num}"
            self._logout(now_ns, text)
            yield from self._end(text)
            return
        if message.msg_type == b"4":
            return
        original = message.get(tag_of.ORIG_SENDING_TIME)
        if original is None:
            missing = Problem(Reason.REQUIRED_TAG_MISSING, tag_of.ORIG_SENDING_TIME)
            yield from self._reject(message, missing, now_ns)
        elif _time(original) > _time(message[tag_of.SENDING_TIME]):
            yield from self._refuse(message, Problem(Reason.SENDING_TIME_ACCURACY), now_ns)

    # --- by type ---------------------------------------------------------------------------------------

    def _on_application(self, message: Message, now_ns: int) -> Iterator[Event]:
        yield from self._verified(message, now_ns)
        if not self._good:
            return
        if message.msg_type in self._app_types:
            yield Delivered(message)
        else:
            text = "Unsupported Message Type"
            self._out.business_reject(message, BUSINESS_UNSUPPORTED, text, now_ns)
        self.store.next_in += 1

    def _on_heartbeat(self, message: Message, now_ns: int) -> Iterator[Event]:
        yield from self._verified(message, now_ns)
        self.store.next_in += self._good

    def _on_test_request(self, message: Message, now_ns: int) -> Iterator[Event]:
        yield from self._verified(message, now_ns)
        if self._good:
            self._out.heartbeat(now_ns, message[tag_of.TEST_REQ_ID])
            self.store.next_in += 1

    def _on_resend_request(self, message: Message, now_ns: int) -> Iterator[Event]:
        """Answered even where it is itself behind a gap, or both sides would wait for each other."""
        yield from self._verified(message, now_ns, high=False, low=False)
        if not self._good:
            return
        begin, end = message.integer(tag_of.BEGIN_SEQ_NO), message.integer(tag_of.END_SEQ_NO)
        last = self.store.next_out - 1
        end = last if end == 0 or end > last else end
        if 1 <= begin <= end:
            self._out.resend(begin, end, now_ns)
        seq_num = message.seq_num
        if seq_num == self.store.next_in:
            self.store.next_in += 1
        elif seq_num > self.store.next_in:
            yield from self._too_high(message, seq_num, now_ns)

    def _on_reject(self, message: Message, now_ns: int) -> Iterator[Event]:
        yield from self._verified(message, now_ns)
        if self._good:
            ref_type = message.text(tag_of.REF_MSG_TYPE, "")
            yield Rejected(
                message.integer(tag_of.REF_SEQ_NUM), ref_type, message.text(tag_of.TEXT, "no reason given")
            )
            self.store.next_in += 1

    def _on_sequence_reset(self, message: Message, now_ns: int) -> Iterator[Event]:
        gap_fill = message.flag(tag_of.GAP_FILL_FLAG)
        yield from self._verified(message, now_ns, high=gap_fill, low=gap_fill)
        if not self._good:
            return
        new = message.integer(tag_of.NEW_SEQ_NO)
        if new < self.store.next_in or (gap_fill and new == self.store.next_in):
            yield from self._reject(message, Problem(Reason.VALUE_INCORRECT), now_ns)
            return
        self.store.next_in = new
        self._gap.skip(new)

    def _on_logout(self, message: Message, now_ns: int) -> Iterator[Event]:
        yield from self._verified(message, now_ns, high=False, low=False)
        if not self._good:
            return
        text = message.text(tag_of.TEXT, "")
        if not self._sent_logout:
            self._logout(now_ns)
        self.store.next_in += message.seq_num == self.store.next_in
        yield from self._end(f"logged out by the counterparty{f': {text}' if text else ''}")

    def _on_logon(self, message: Message, now_ns: int) -> Iterator[Event]:
        reset = message.flag(tag_of.RESET_SEQ_NUM_FLAG)
        if self.logged_on and not reset:
            yield from self._end("a second logon")
            return
        refusal = self._logon_refusal(message)
        if refusal:
            self._logout(now_ns, refusal)
            yield from self._end(refusal)
            return
        initiated = self._sent_logon and not self.logged_on
        if not self._time_is_right(message, now_ns):
            yield from self._end("logon with a SendingTime that is too far away")
            return
        due = self.configuration.reset_on_logon or self._reset_is_due(now_ns)
        if (reset and not (initiated and self._sent_reset)) or (due and not initiated):
            self.store.reset()
            self._gap = Gap()
        self.store.since_ns = self.store.since_ns or now_ns
        yield from self._verified(message, now_ns, high=False)
        if not self._good:
            return
        if not initiated:
            heartbeat_s = message.integer(tag_of.HEART_BT_INT)
            self._liveness = Liveness(heartbeat_s, now_ns)
            self._out.logon(heartbeat_s, reset, now_ns)
        self.logged_on = True
        yield from self._after_logon(message, now_ns)
        yield LoggedOn(self.store.epoch)

    def _logon_refusal(self, message: Message) -> str:
        """Why a logon is refused, with a Logout that says so; empty if it is not."""
        if message[tag_of.ENCRYPT_METHOD] != b"0":
            return "EncryptMethod must be 0 (none)"
        if not 0 <= message.integer(tag_of.HEART_BT_INT) <= HEARTBEAT_S_MAX:
            return f"HeartBtInt must be 0 to {HEARTBEAT_S_MAX}"
        if self.configuration.initiator:
            return ""
        wrong = any(message.get(tag) != text.encode() for tag, text in self.configuration.logon_fields)
        return "not authorised" if wrong else ""

    def _after_logon(self, message: Message, now_ns: int) -> Iterator[Event]:
        seq_num = message.seq_num
        wanted = message.get(tag_of.NEXT_EXPECTED_MSG_SEQ_NUM)
        if seq_num > self.store.next_in:
            yield from self._too_high(message, seq_num, now_ns)
        else:
            self.store.next_in += 1
        if wanted is not None:  # FIX 4.4: it says itself from where on it misses messages
            last = self.store.next_out - 1
            if 1 <= int(wanted) < last:
                self._out.resend(int(wanted), last, now_ns)

    def _end(self, reason: str) -> Iterator[Event]:
        self.connected = self.logged_on = False
        yield Ended(reason)


def _time(value: bytes) -> int:
    """ns since the epoch; for ever in the future where it is no day of the calendar (31 April)."""
    try:
        return parse_timestamp(value)
    except ValueError:
        return 2**63 - 1


_Handler = Callable[[Session, Message, int], Iterator[Event]]
_HANDLERS: dict[bytes, _Handler] = {
    b"0": Session._on_heartbeat,
    b"1": Session._on_test_request,
    b"2": Session._on_resend_request,
    b"3": Session._on_reject,
    b"4": Session._on_sequence_reset,
    b"5": Session._on_logout,
    b"A": Session._on_logon,
}
assert set(_HANDLERS) == ADMIN
