"""The sending half of a FIX session: numbers, stores and builds, and sends again what is asked for. Pure.

FIX 4.4 with Errata 20030618, Volume 2, "Message Recovery": a resent message carries PossDupFlag and
OrigSendingTime; messages of the session layer are never resent but skipped over with a SequenceReset in
gap fill mode.
"""

from __future__ import annotations

from collections.abc import Callable

from execution.fix import tags as tag_of
from execution.fix.build import REVERSE_ROUTE, Builder, Fields, field_bytes
from execution.fix.codec import Codec, Message
from execution.fix.configuration import ADMIN, SessionConfiguration
from execution.fix.shape import Problem, Reason
from execution.fix.store import Store
from execution.fix.values import field_text, format_timestamp

#: Text (58) of a Reject, as the specification words SessionRejectReason.
REASON_TEXTS = {
    Reason.INVALID_TAG_NUMBER: "Invalid tag number",
    Reason.REQUIRED_TAG_MISSING: "Required tag missing",
    Reason.TAG_NOT_DEFINED_FOR_MESSAGE: "Tag not defined for this message type",
    Reason.TAG_WITHOUT_VALUE: "Tag specified without a value",
    Reason.VALUE_INCORRECT: "Value is incorrect (out of range) for this tag",
    Reason.INCORRECT_FORMAT: "Incorrect data format for value",
    Reason.COMP_ID_PROBLEM: "CompID problem",
    Reason.SENDING_TIME_ACCURACY: "SendingTime accuracy problem",
    Reason.INVALID_MSG_TYPE: "Invalid MsgType",
    Reason.TAG_REPEATED: "Tag appears more than once",
    Reason.TAG_OUT_OF_ORDER: "Tag specified out of required order",
    Reason.GROUP_OUT_OF_ORDER: "Repeating group fields out of order",
    Reason.GROUP_COUNT: "Incorrect NumInGroup count for repeating group",
}
RESEND_MESSAGES_MAX = 5_000  # at once, about 1.5 MB; the rest with the next call of the timer
_NOTHING = (1, 0)  # no number is in it
_REASON_MAX_42 = 11
_OWN_HEADER = frozenset({8, 9, 35, 34, 49, 52, 56, 43, 122})  # what building a message fills in by itself


class Outgoing:
    """What leaves on a session; :meth:`take` gives the bytes to write.

    Parameters
    ----------
    may_resend : Callable[[Message], bool]
        Whether an application message that is asked for again is to be sent; else it is skipped over.
    """

    def __init__(
        self,
        configuration: SessionConfiguration,
        store: Store,
        codec: Codec,
        may_resend: Callable[[Message], bool],
    ) -> None:
        self._configuration, self._store, self._codec = configuration, store, codec
        self._may_resend = may_resend
        begin, sender, target = configuration.begin_string, configuration.sender, configuration.target
        self._builder = Builder(begin.encode(), sender.encode(), target.encode())
        self._buffer: list[bytes] = []
        self._resending = _NOTHING
        self.last_sent_ns = 0

    def take(self) -> bytes:
        """What is to be written, in order; each part of it once."""
        data = b"".join(self._buffer)
        self._buffer.clear()
        return data

    def drop(self) -> None:
        """Forget what was not written: there is no connection any more. It can be asked for again."""
        self._buffer.clear()
        self._resending = _NOTHING

    def message(
        self, msg_type: bytes, body: bytes, now_ns: int, header: Fields = (), wire: bool = True
    ) -> int:
        """Number and store a message, and send it where there is a ``wire``; its MsgSeqNum.

        Messages of the session layer are not stored: they are never resent, and a logon has a password.
        """
        seq_num = self._store.next_out
        raw = self._builder.build(msg_type, seq_num, now_ns, body, header)
        if msg_type not in ADMIN:
            self._store.put(seq_num, raw)
        self._store.next_out = seq_num + 1
        if wire:
            self._buffer.append(raw)
            self.last_sent_ns = now_ns
        return seq_num

    # --- messages of the session layer ---------------------------------------------------------------

    def logon(self, heartbeat_s: int, reset: bool, now_ns: int) -> None:
        fields = [(tag_of.ENCRYPT_METHOD, b"0"), (tag_of.HEART_BT_INT, b"%d" % heartbeat_s)]
        if reset:
            fields.append((tag_of.RESET_SEQ_NUM_FLAG, b"Y"))
        if self._configuration.initiator:
            fields += [(tag, field_text(value)) for tag, value in self._configuration.logon_fields]
        self.message(b"A", field_bytes(sorted(fields)), now_ns)

    def heartbeat(self, now_ns: int, test_req_id: bytes = b"") -> None:
        self.message(b"0", field_bytes([(tag_of.TEST_REQ_ID, test_req_id)] if test_req_id else ()), now_ns)

    def test_request(self, now_ns: int) -> None:
        self.message(b"1", field_bytes([(tag_of.TEST_REQ_ID, b"TEST")]), now_ns)

    def logout(self, now_ns: int, text: str = "") -> None:
        self.message(b"5", field_bytes([(tag_of.TEXT, field_text(text))] if text else ()), now_ns)

    def resend_request(self, begin: int, now_ns: int) -> None:
        """Ask for everything from ``begin`` on (EndSeqNo 0: infinity)."""
        self.message(b"2", field_bytes([(tag_of.BEGIN_SEQ_NO, b"%d" % begin), (16, b"0")]), now_ns)

    def reject(self, message: Message, problem: Problem, now_ns: int) -> None:
        """Reject (3), on the way back that the message's routing fields give."""
        fields: list[tuple[int, bytes]] = [
            (tag_of.TEXT, REASON_TEXTS[problem.reason].encode()),
            (tag_of.REF_MSG_TYPE, message.msg_type),
        ]
        seq_num = message.get(tag_of.MSG_SEQ_NUM)
        if seq_num:
            fields.append((tag_of.REF_SEQ_NUM, seq_num))
        if problem.tag or problem.reason is Reason.INVALID_TAG_NUMBER:
            fields.append((tag_of.REF_TAG_ID, b"%d" % problem.tag))
        if self._configuration.begin_string != "FIX.4.2" or problem.reason <= _REASON_MAX_42:
            fields.append((tag_of.SESSION_REJECT_REASON, b"%d" % problem.reason))
        route = [(back, message.get(tag)) for tag, back in REVERSE_ROUTE.items()]
        header = [(tag, value) for tag, value in route if value]
        self.message(b"3", field_bytes(sorted(fields)), now_ns, header)

    def business_reject(self, message: Message, reason: int, text: str, now_ns: int) -> None:
        """BusinessMessageReject (j): a message that is well formed and cannot be used."""
        fields = [
            (tag_of.REF_SEQ_NUM, message[tag_of.MSG_SEQ_NUM]),
            (tag_of.TEXT, field_text(text)),
            (tag_of.REF_MSG_TYPE, message.msg_type),
            (tag_of.BUSINESS_REJECT_REASON, b"%d" % reason),
        ]
        self.message(b"j", field_bytes(fields), now_ns)

    # --- recovery ------------------------------------------------------------------------------------

    def resend(self, begin: int, end: int, now_ns: int) -> None:
        """Send again what went out under ``begin`` to ``end``, both included; a long range in portions."""
        self._resending = (begin, end)
        self.resume(now_ns)

    def resume(self, now_ns: int) -> None:
        """The next portion of a resend that is under way, if one is."""
        skipped, end = self._resending
        self._resending = _NOTHING
        sent = 0
        for seq_num, raw in self._store.sent(skipped, end):
            message = self._codec.parse(raw)
            if not self._may_resend(message):
                continue
            if sent == RESEND_MESSAGES_MAX:
                self._resending = (skipped, end)
                return
            if seq_num > skipped:
                self._gap_fill(skipped, seq_num, now_ns)
            self._again(message, seq_num, now_ns)
            skipped = seq_num + 1
            sent += 1
        if skipped <= end:
            self._gap_fill(skipped, end + 1, now_ns)

    def _again(self, message: Message, seq_num: int, now_ns: int) -> None:
        known = self._codec.dictionary.header.members | self._codec.dictionary.trailer.members
        header = [(tag_of.POSS_DUP_FLAG, b"Y"), (tag_of.ORIG_SENDING_TIME, message[tag_of.SENDING_TIME])]
        body = []
        for tag, value in message.fields():
            if tag in self._codec.dictionary.header.members and tag not in _OWN_HEADER:
                header.append((tag, value))
            elif tag not in known:
                body.append((tag, value))
        raw = self._builder.build(message.msg_type, seq_num, now_ns, field_bytes(body), header)
        self._buffer.append(raw)
        self.last_sent_ns = now_ns

    def _gap_fill(self, seq_num: int, new_seq_num: int, now_ns: int) -> None:
        header = [(tag_of.POSS_DUP_FLAG, b"Y"), (tag_of.ORIG_SENDING_TIME, format_timestamp(now_ns))]
        body = field_bytes([(tag_of.NEW_SEQ_NO, b"%d" % new_seq_num), (tag_of.GAP_FILL_FLAG, b"Y")])
        self._buffer.append(self._builder.build(b"4", seq_num, now_ns, body, header))
        self.last_sent_ns = now_ns
