"""Fields in, a FIX message's bytes out. Pure.

The fields behind BeginString, BodyLength and MsgType go out in ascending order in the header and, by
convention of who makes a body, in the body: a receiver may not ask for an order there (FIX 4.4,
Volume 1, "Message Format"), and a fixed one makes few shapes.
"""

from __future__ import annotations

from collections.abc import Iterable

from execution.fix import tags as tag_of
from execution.fix.codec import TRAILERS, byte_sum
from execution.fix.values import SOH, format_timestamp

Fields = Iterable[tuple[int, bytes]]

#: Which header field of an answer carries a routing field of the message answered (Volume 2, "Reject").
REVERSE_ROUTE = {
    tag_of.ON_BEHALF_OF_COMP_ID: tag_of.DELIVER_TO_COMP_ID,
    tag_of.ON_BEHALF_OF_SUB_ID: tag_of.DELIVER_TO_SUB_ID,
    tag_of.ON_BEHALF_OF_LOCATION_ID: tag_of.DELIVER_TO_LOCATION_ID,
    tag_of.DELIVER_TO_COMP_ID: tag_of.ON_BEHALF_OF_COMP_ID,
    tag_of.DELIVER_TO_SUB_ID: tag_of.ON_BEHALF_OF_SUB_ID,
    tag_of.DELIVER_TO_LOCATION_ID: tag_of.ON_BEHALF_OF_LOCATION_ID,
}


def field_bytes(fields: Fields) -> bytes:
    """Fields as they are on the wire; a value is not looked at, so it must have no SOH in it."""
    return b"".join([b"%d=%b\x01" % field for field in fields])


class Builder:
    """Messages of one session, from us to the counterparty.

    Parameters
    ----------
    begin_string, sender, target : bytes
    """

    def __init__(self, begin_string: bytes, sender: bytes, target: bytes) -> None:
        if any(SOH in part or not part for part in (begin_string, sender, target)):
            raise ValueError("BeginString, SenderCompID and TargetCompID need a value without SOH")
        self._start = b"8=%b\x019=" % begin_string
        self._sender, self._target = sender, target
        self._header = b"35=%%b\x0134=%%d\x0149=%b\x0152=%%b\x0156=%b\x01" % tuple(
            part.replace(b"%", b"%%") for part in (sender, target)
        )

    def build(self, msg_type: bytes, seq_num: int, now_ns: int, body: bytes, header: Fields = ()) -> bytes:
        """A whole message.

        Parameters
        ----------
        body : bytes
            Fields on the wire, each with its SOH.
        header : iterable of (tag, value)
            Header fields besides those of every message.
        """
        head = self._header % (msg_type, seq_num, format_timestamp(now_ns))
        if header:
            own = [
                (tag_of.MSG_SEQ_NUM, b"%d" % seq_num),
                (tag_of.SENDER_COMP_ID, self._sender),
                (tag_of.SENDING_TIME, format_timestamp(now_ns)),
                (tag_of.TARGET_COMP_ID, self._target),
            ]
            head = b"35=%b\x01%b" % (msg_type, field_bytes(sorted([*own, *header])))
        message = b"%b%d\x01%b%b" % (self._start, len(head) + len(body), head, body)
        return message + TRAILERS[byte_sum(message) & 255]
