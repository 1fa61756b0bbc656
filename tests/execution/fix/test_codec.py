"""Framing and fields, with simplefix as the second implementation, and anything at all as input."""

from __future__ import annotations

import contextlib

import pytest
import simplefix
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.fix.build import Builder, field_bytes
from execution.fix.codec import BODY_BYTES_MAX, Codec, Framer, Garbled, Message, byte_sum
from execution.fix.dictionary import FIX44
from execution.fix.shape import Problem, Reason
from tickloom.errors import DecodeError, FieldError

NOW_NS = 1_795_132_800_123_000_000  # 2026-11-20 00:00:00.123
BUILDER = Builder(b"FIX.4.4", b"US", b"THEM")
CODEC = Codec(FIX44)
ORDER = [
    (11, b"ID"),
    (38, b"100"),
    (40, b"2"),
    (44, b"101.25"),
    (54, b"1"),
    (55, b"ALFA"),
    (60, b"20261120-00:00:00"),
]
# field values as they may be, "=" among them; SOH only in data fields
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\x01"), min_size=1, max_size=40)


def make(fields: list[tuple[int, bytes]], msg_type: bytes = b"D", seq_num: int = 7) -> bytes:
    return BUILDER.build(msg_type, seq_num, NOW_NS, field_bytes(fields))


def framed(body: bytes) -> bytes:
    """A message around a body that may be anything; the sums by another way than ours."""
    message = b"8=FIX.4.4\x019=%d\x01" % len(body) + body
    return message + b"10=%03d\x01" % (sum(message) % 256)


def problem(fields: list[tuple[int, bytes]], msg_type: bytes = b"D") -> Problem | None:
    return CODEC.problem(CODEC.decode(make(fields, msg_type)))


def test_published_example() -> None:
    """The sums of a message whose BodyLength and CheckSum are printed in many places."""
    raw = (
        b"8=FIX.4.2|9=65|35=A|49=SERVER|56=CLIENT|34=177|52=20090107-18:15:16|98=0|108=30|10=062|"
    ).replace(b"|", b"\x01")
    assert list(Framer().feed(raw)) == [raw]


def test_build_is_what_simplefix_reads() -> None:
    parser = simplefix.FixParser()
    parser.append_buffer(make(ORDER))
    message = parser.get_message()
    pairs = [(8, b"FIX.4.4"), (9, message.get(9)), (35, b"D"), (34, b"7"), (49, b"US")]
    pairs += [(52, b"20261120-00:00:00.123"), (56, b"THEM"), *ORDER, (10, message.get(10))]
    assert [(int(tag), value) for tag, value in message.pairs] == pairs


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 9_999).filter(lambda tag: tag not in (8, 9, 10, 35)), VALUES), max_size=30
    )
)
def test_parse_is_what_simplefix_wrote(fields: list[tuple[int, str]]) -> None:
    """Any fields at all, in any order, come out as they went in, with the same sums."""
    theirs = simplefix.FixMessage()
    theirs.append_pair(8, "FIX.4.4")
    theirs.append_pair(35, "D")
    wanted = [(tag, value) for tag, value in fields if tag not in FIX44.data_lengths]
    for tag, value in wanted:
        theirs.append_pair(tag, value)
    for _ in range(2):  # of an unknown shape, and of a known one
        message = CODEC.decode(theirs.encode())
        assert [(tag, value.decode()) for tag, value in message.fields()[3:-1]] == wanted


@settings(deadline=None)
@given(st.binary(max_size=2_000))
def test_byte_sum(data: bytes) -> None:
    """The sum by Adler-32 is the sum."""
    assert byte_sum(data) % 256 == sum(data) % 256


@pytest.mark.parametrize("byte", [0x7F, 0x80, 0xFF])
def test_byte_sum_of_the_largest_bytes(byte: int) -> None:
    data = bytes([byte]) * BODY_BYTES_MAX
    assert byte_sum(data) % 256 == sum(data) % 256


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=8), st.data())
def test_a_stream_however_it_is_cut(kinds: list[int], data: st.DataObject) -> None:
    """Messages come out whole and in order whatever the reads were; garbled ones are left out."""
    wanted, stream = [], b""
    for number, kind in enumerate(kinds):
        good = make(ORDER, seq_num=number + 1)
        wrong_sum = good[:-4] + (b"000\x01" if good[-4:-1] != b"000" else b"001\x01")
        stream += [
            good,
            wrong_sum,
            b"junk\x01" + good,
            good.replace(b"8=FIX.4.4\x019=", b"8=FIX.4.4\x019=x"),
        ][kind]
        if kind in (0, 2):
            wanted.append(good)
    framer, got = Framer(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += [frame for frame in framer.feed(stream[:size]) if isinstance(frame, bytes)]
        stream = stream[size:]
    assert got == wanted


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([b"8=FIX.4.4\x01", b"9=5\x01", b"35=D\x01", b"10=000\x01"]),
        )
    )
)
def test_any_bytes_are_framed_or_left_out(parts: list[bytes]) -> None:
    """Nothing raises but DecodeError, nothing is lost or invented, and a good message behind is found."""
    framer, stream = Framer(), b"".join(parts)
    frames = list(framer.feed(stream))
    for frame in frames:
        if isinstance(frame, bytes):
            with contextlib.suppress(DecodeError):
                CODEC.problem(CODEC.parse(frame))
    taken = b"".join(frame if isinstance(frame, bytes) else frame.data for frame in frames)
    assert stream.startswith(taken)
    good = make(ORDER)
    behind = list(framer.feed(b"\x01" * 2 * BODY_BYTES_MAX + b"\x0110=000\x01" + good * 2))
    assert behind[-1] == good


def test_a_length_that_is_too_long_is_not_waited_for() -> None:
    """BodyLength above the limit is garbled at once, and the next message is taken."""
    framer = Framer()
    frames = list(framer.feed(b"8=FIX.4.4\x019=999999\x0135=D\x01" + make(ORDER)))
    assert isinstance(frames[0], Garbled)
    assert frames[1] == make(ORDER)


@pytest.mark.parametrize(
    "body",
    [
        b"35=D\x0158=a=11\x01x\x01",  # as many "=" as SOH, and not in turns
        b"35=D\x014x=1\x01",
        b"35=D\x01=1\x01",
        b"35=D\x0111\x01",
        b"35=D\x0195=9\x0196=ab\x01",  # RawData shorter than it says
        b"35=D\x0196=ab\x01",  # ... and without a length
        b"35=D\x01034=1\x01",  # no leading zeros in a tag
    ],
)
def test_no_sequence_of_fields(body: bytes) -> None:
    """A frame that is right, around something that is no ``tag=value`` each, whatever shapes are known."""
    for _ in range(2):
        with pytest.raises(DecodeError):
            CODEC.decode(framed(body))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"8=FIX.4.4",
        make(ORDER)[:-1],
        make(ORDER) + b"x",
        b"x" + make(ORDER),
        make(ORDER).replace(b"ALFA", b"ALFB"),
    ],
)
def test_no_whole_message(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        CODEC.decode(raw)


def test_a_torn_field_is_no_other_field() -> None:
    """As many "=" as fields, but one twice and one not at all: not taken for a shape that is known."""
    codec = Codec(FIX44)
    good = codec.decode(framed(b"35=D\x0158=a\x0111=x\x01"))
    assert good[11] == b"x"
    with pytest.raises(DecodeError):
        codec.decode(framed(b"35=D\x0158=a=11\x01x\x01"))


def test_data_may_hold_anything() -> None:
    """SOH and "=" within RawData end nothing; by the published rule its length comes before."""
    message = CODEC.decode(make([(95, b"9"), (96, b"a\x0110=001\x01"), (98, b"0"), (108, b"30")], b"A"))
    assert message[96] == b"a\x0110=001\x01"
    assert message[108] == b"30"


def test_instances_of_groups() -> None:
    """Groups, and groups within, with their fields in order; a tag in a group is no field of the message."""
    parties = [
        (453, b"2"),
        (448, b"A"),
        (447, b"D"),
        (452, b"1"),
        (802, b"1"),
        (523, b"X"),
        (448, b"B"),
        (452, b"3"),
    ]
    message = CODEC.decode(make([*ORDER[:1], *parties, *ORDER[1:]]))
    assert CODEC.problem(message) is None
    assert message.instances(453) == [parties[1:6], parties[6:]]
    assert message.get(448) is None
    assert message.instances(78) == []


def test_typed_readers() -> None:
    """A reader raises for a field that is missing, or that is something else."""
    message: Message = CODEC.decode(make(ORDER))
    assert (message.seq_num, message.nanos(44), message.text(55)) == (7, 101_250_000_000, "ALFA")
    assert message.timestamp(52) == NOW_NS
    assert message.text(58, "none") == "none"
    for read in (
        lambda: message[58],
        lambda: message.nanos(55),
        lambda: message.integer(44),
        lambda: message.timestamp(38),
        lambda: message.flag(55),
    ):
        with pytest.raises(FieldError):
            read()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (ORDER, None),
        (ORDER[1:], Problem(Reason.REQUIRED_TAG_MISSING, 11)),
        ([*ORDER, (999, b"x")], Problem(Reason.INVALID_TAG_NUMBER, 999)),
        ([*ORDER, (9_999, b"x")], Problem(Reason.INVALID_TAG_NUMBER, 9_999)),
        ([*ORDER, (112, b"x")], Problem(Reason.TAG_NOT_DEFINED_FOR_MESSAGE, 112)),
        ([*ORDER, (58, b"")], Problem(Reason.TAG_WITHOUT_VALUE, 58)),
        ([*ORDER, (59, b"z")], Problem(Reason.VALUE_INCORRECT, 59)),
        ([*ORDER, (18, b"6 M")], None),
        ([*ORDER, (18, b"6 ?")], Problem(Reason.VALUE_INCORRECT, 18)),
        ([*ORDER, (99, b"1,5")], Problem(Reason.INCORRECT_FORMAT, 99)),
        ([*ORDER, (99, b"+1")], Problem(Reason.INCORRECT_FORMAT, 99)),
        ([*ORDER, (126, b"20261301-00:00:00")], Problem(Reason.INCORRECT_FORMAT, 126)),
        ([*ORDER, (55, b"BETA")], Problem(Reason.TAG_REPEATED, 55)),
        ([*ORDER, (50, b"x")], Problem(Reason.TAG_OUT_OF_ORDER, 50)),
        ([*ORDER, (386, b"2"), (336, b"1")], Problem(Reason.GROUP_COUNT, 386)),
        ([*ORDER, (386, b"1"), (336, b"1")], None),
        ([*ORDER, (386, b"0")], None),
        ([*ORDER, (453, b"1"), (447, b"D")], Problem(Reason.GROUP_OUT_OF_ORDER, 447)),
        ([*ORDER, (453, b"1"), (448, b"A"), (802, b"2"), (523, b"x")], Problem(Reason.GROUP_COUNT, 802)),
    ],
)
def test_what_the_dictionary_has_against_it(
    fields: list[tuple[int, bytes]], expected: Problem | None
) -> None:
    assert problem(fields) == expected


def test_types_of_messages() -> None:
    """One that FIX does not have is wrong; one that is not in our tables is known and not supported."""
    assert problem([], b"*") == Problem(Reason.INVALID_MSG_TYPE)
    message = CODEC.decode(make([(33, b"1")], b"B"))
    assert (CODEC.problem(message), message.shape.supported) == (None, False)


def test_a_strangers_shapes_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the limit a message is parsed as before, and not remembered."""
    monkeypatch.setattr("execution.fix.codec.SHAPES_MAX", 2)
    codec = Codec(FIX44)
    for tag in (1, 15, 58):
        assert codec.decode(make([*ORDER, (tag, b"x")]))[tag] == b"x"
    assert len(codec._shapes) == 2
