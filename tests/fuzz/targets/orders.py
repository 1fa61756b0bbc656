"""Order entry: FIX, OUCH 5.0 and SoupBinTCP, as both sides of a session read them."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, get_type_hints

from execution.fix.build import Builder, field_bytes
from execution.fix.codec import TRAILERS, Codec, Framer, Garbled, byte_sum
from execution.fix.dictionary import FIX44
from execution.ouch import messages as m
from execution.ouch.codec import decode_inbound, decode_outbound, encode
from tests.fuzz.target import Target
from tickloom.errors import DecodeError
from tickloom.soupbin import packets as soup

TAGS_READ = 3  # of a message
NOW_NS = 1_795_132_800_123_000_000
_BODY = re.compile(rb"^(8=[^\x01]*\x01)9=[^\x01]*\x01(.*?)(?:10=[^\x01]*\x01)?$", re.DOTALL)
_BODIES: list[tuple[bytes, list[tuple[int, bytes]]]] = [
    (b"A", [(98, b"0"), (108, b"30"), (141, b"Y")]),
    (b"0", [(112, b"TEST")]),
    (b"1", [(112, b"TEST")]),
    (b"2", [(7, b"1"), (16, b"0")]),
    (b"3", [(45, b"7"), (371, b"44"), (373, b"5"), (58, b"no")]),
    (b"4", [(36, b"12"), (123, b"Y")]),
    (b"5", [(58, b"bye")]),
    (b"D", [(11, b"ID"), (38, b"100"), (40, b"2"), (44, b"101.25"), (54, b"1"), (55, b"ALFA"),
            (60, b"20261120-00:00:00"), (78, b"2"), (79, b"X"), (80, b"1"), (79, b"Y"), (80, b"2"),
            (354, b"3"), (355, b"a\x01b")]),
    (b"F", [(11, b"I2"), (41, b"ID"), (54, b"1"), (55, b"ALFA"), (60, b"20261120-00:00:00.123")]),
    (b"G", [(11, b"I3"), (38, b"10"), (40, b"2"), (41, b"ID"), (44, b"1"), (54, b"2"), (55, b"BETA"),
            (60, b"20261120-00:00:00")]),
    (b"8", [(6, b"0"), (11, b"ID"), (14, b"50"), (17, b"E1"), (31, b"101.2"), (32, b"50"), (37, b"O1"),
            (38, b"100"), (39, b"1"), (54, b"1"), (55, b"ALFA"), (150, b"F"), (151, b"50"),
            (60, b"20261120-00:00:00.123456")]),
    (b"9", [(11, b"I2"), (37, b"O1"), (39, b"1"), (41, b"ID"), (102, b"0"), (434, b"1")]),
]  # fmt: skip


class Fix(Target):
    """A stream of FIX messages: framed, split into fields, validated, and read as types."""

    name = "fix"

    def seeds(self) -> list[list[bytes]]:
        builder = Builder(b"FIX.4.4", b"US", b"THEM")
        tape = [
            builder.build(kind, number, NOW_NS + number, field_bytes(body))
            for number, (kind, body) in enumerate(_BODIES * 150, 1)
        ]
        return [tape]

    def repaired(self, rng: random.Random, frame: bytes) -> bytes:
        """Most get a right BodyLength and CheckSum again: else nothing comes past the framing."""
        found = _BODY.match(frame) if rng.random() < 0.8 else None
        if found is None:
            return frame
        message = found[1] + b"9=%d\x01" % len(found[2]) + found[2]
        return message + TRAILERS[byte_sum(message) & 255]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        codec, framer = Codec(FIX44), Framer()
        stream = b"".join(frames)
        rng = random.Random(len(stream))
        at = passed = 0
        while at < len(stream):
            stop = at + 1 + int(rng.random() * 700)
            for item in framer.feed(stream[at:stop]):
                if isinstance(item, Garbled):
                    counts["garbled"] += 1
                    passed += len(item.data)
                else:
                    passed += len(item)
                    self._message(codec, item, counts)
            at = stop
        waiting = len(stream) - passed
        assert waiting >= 0, f"{-waiting} bytes came out twice"
        for frame in frames:
            try:
                codec.decode(frame)
            except DecodeError:
                counts["refused"] += 1
            else:
                counts["decoded"] += 1
                self._message(codec, frame, counts)
        return counts

    @staticmethod
    def _message(codec: Codec, raw: bytes, counts: Counter[str]) -> None:
        try:
            message = codec.parse(raw)
        except DecodeError:
            counts["no_fields"] += 1
            return
        counts["problem" if codec.problem(message) else "valid"] += 1
        tags = [*message.shape.index] * 2
        first = sum(raw) % max(1, len(tags) // 2)
        for tag in tags[first : first + TAGS_READ]:  # to read all of each, as each type, takes twice as long
            message.text(tag, "")
            for read in (message.integer, message.nanos, message.timestamp, message.flag):
                try:
                    read(tag)
                except DecodeError:
                    counts["other_type"] += 1
        for tag in message.shape.groups:
            message.instances(tag)


def ouch_messages() -> list[bytes]:
    """One of each, with and without an appendage."""
    out = []
    for kind in (*m.INBOUND.values(), *m.OUTBOUND.values()):
        hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
        values = [
            "A" if code.__metadata__[0].endswith("s") else 7
            for name, code in hints.items()
            if name != "appendage" and isinstance(code, type(Annotated[int, "H"]))
        ]
        out.append(encode(kind(*values)))
        out.append(encode(kind(*values, appendage=(("firm", "LIME"),))))
    return out


class Ouch(Target):
    """Messages of either direction."""

    name = "ouch"
    alone = True

    def seeds(self) -> list[list[bytes]]:
        return [ouch_messages()]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for frame in frames:
            for read in (decode_inbound, decode_outbound):
                try:
                    message = read(frame)
                    counts["decoded"] += 1
                except DecodeError:
                    counts["refused"] += 1
                else:
                    assert encode(message)
        assert counts["decoded"] + counts["refused"] == 2 * len(frames)
        return counts


class SoupBin(Target):
    """A stream of packets, cut anywhere; behind a packet that is none a new connection begins."""

    name = "soupbin"

    def seeds(self) -> list[list[bytes]]:
        packets: list[soup.Packet] = [
            soup.Debug(b"text"),
            *[soup.LoginRequest("user", "secret", "", 1)] * 20,  # numbers as text are worth more tries
            *[soup.LoginRequest("user", "secret", "S1", 12_345_678, 1_000)] * 20,
            *[soup.LoginAccepted("S1", 12_345_678)] * 20,
            soup.LoginRejected("A"),
            soup.ServerHeartbeat(),
            soup.ClientHeartbeat(),
            soup.EndOfSession(),
            soup.Logout(),
            *(soup.Sequenced(raw) for raw in ouch_messages()),
            *(soup.Unsequenced(raw) for raw in ouch_messages()),
        ]
        return [[soup.encode(packet) for packet in packets] * 20]

    def decode(self, frames: Sequence[bytes]) -> Counter[str]:
        counts: Counter[str] = Counter()
        framer = soup.Framer()
        for frame in frames:
            middle = len(frame) // 3
            try:
                for part in (frame[:middle], frame[middle:]):
                    found = framer.feed(part)
                    counts["packets"] += len(found)
                    for packet in found:
                        soup.encode(packet)
            except DecodeError:
                counts["refused"] += 1
                framer = soup.Framer()
            if len(frame) > 2:  # by itself, too: a length that is wrong swallows many frames of the stream
                try:
                    soup.encode(soup.decode(frame[2], frame[3:]))
                    counts["decoded"] += 1
                except DecodeError:
                    counts["not_decoded"] += 1
        return counts
