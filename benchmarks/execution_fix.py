"""FIX messages a second, parsed and built, on one core, against quickfix, simplefix and a plain splitter.

    python -m benchmarks.execution_fix [runs]

``execution.fix.parse`` takes an ExecutionReport from bytes (BeginString, BodyLength, CheckSum and structure
checked) to a typed record with exact prices; quickfix and simplefix parse and read the same fields, as the
types they give. ``execution.fix.build`` goes the other way, ``.build_order`` with a NewOrderSingle.
``.decode`` stops at fields that can be looked up by tag: what a splitter does, which checks nothing.
``.validate`` is parse and the dictionary's checks of every field. quickfix is compared with where it is
installed (it is built from source, in minutes, so it is no dependency of ours), else simplefix alone.
"""

from __future__ import annotations

import importlib.util
import json
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import simplefix

from execution.fix.build import Builder
from execution.fix.codec import Codec
from execution.fix.dictionary import FIX44
from execution.fix.order_codec import decode_report, encode
from execution.fix.orders import ExecutionReport, NewOrderSingle
from tickloom.clock import NS_PER_MS
from tickloom.prices import NANOS

MESSAGES = 2_000
START_NS = 1_795_132_800_000_000_000
REPORT_TEXTS = (37, 17, 150, 39, 55, 54, 11, 207)
REPORT_DECIMALS = (151, 14, 6, 38, 44, 32, 31)
Work = Callable[[], object]


def reports() -> list[ExecutionReport]:
    """Fills of many orders: ids, sizes and prices differ, as they do in a session."""
    rng = random.Random(1)
    made = []
    for number in range(MESSAGES):
        price = rng.randrange(1_000, 50_000) * NANOS // 100
        quantity, last = rng.randrange(2, 50) * 100 * NANOS, 100 * NANOS
        made.append(
            ExecutionReport(
                order_id=f"V{number:010d}",
                exec_id=f"E{number:012d}",
                exec_type="F",
                ord_status="1",
                symbol=f"SYM{rng.randrange(500)}",
                side=rng.choice("12"),
                cl_ord_id=f"{rng.getrandbits(96):020X}"[:20],
                venue="XNAS",
                ts=START_NS + number * 7 * NS_PER_MS,
                leaves=quantity - last,
                filled=last,
                average_price=price,
                quantity=quantity,
                price=price,
                last_quantity=last,
                last_price=price,
            )
        )
    return made


def orders() -> list[NewOrderSingle]:
    return [
        NewOrderSingle(
            cl_ord_id=report.cl_ord_id,
            symbol=report.symbol,
            side=report.side,
            quantity=report.quantity,
            ts=report.ts,
            price=report.price,
            venue=report.venue,
        )
        for report in reports()
    ]


def each(work: Callable[[Any], object], inputs: Iterable[Any]) -> None:
    """Over all of them, keeping nothing, as one after the other comes off a socket."""
    deque(map(work, inputs), maxlen=0)


def splitter(raw: bytes) -> dict[bytes, bytes]:
    return dict([field.split(b"=", 1) for field in raw[:-1].split(b"\x01")])


def simplefix_parse(raw: bytes) -> list[object]:
    parser = simplefix.FixParser()
    parser.append_buffer(raw)
    message = parser.get_message()
    return [message.get(tag) for tag in REPORT_TEXTS] + [float(message.get(tag)) for tag in REPORT_DECIMALS]


def simplefix_build(body: list[tuple[int, str]], msg_type: str) -> bytes:
    message = simplefix.FixMessage()
    message.append_pair(8, "FIX.4.4")
    message.append_pair(35, msg_type)
    message.append_pair(34, 12)
    message.append_pair(49, "VENUE")
    message.append_utc_timestamp(52)
    message.append_pair(56, "TICKLOOM")
    for tag, value in body:
        message.append_pair(tag, value)
    encoded: bytes = message.encode()
    return encoded


def quickfix_works(raws: list[str], bodies: dict[str, list[list[tuple[int, str]]]]) -> dict[str, Work]:
    """The same with quickfix's Python binding."""
    import quickfix

    sending = quickfix.SendingTime(1)

    def build(kind: str) -> Work:
        msg_type = quickfix.MsgType(kind)

        def one(body: list[tuple[int, str]]) -> str:
            message = quickfix.Message()
            header = message.getHeader()
            header.setField(quickfix.BeginString("FIX.4.4"))
            header.setField(msg_type)
            header.setField(34, "12")
            header.setField(49, "VENUE")
            header.setField(sending)
            header.setField(56, "TICKLOOM")
            for tag, value in body:
                message.setField(tag, value)
            text: str = message.toString()
            return text

        return lambda: each(one, bodies[kind])

    def parse(raw: str) -> list[object]:
        message = quickfix.Message(raw, True)
        get = message.getField
        return [get(tag) for tag in REPORT_TEXTS] + [float(get(tag)) for tag in REPORT_DECIMALS]

    def decode(raw: str) -> object:
        return quickfix.Message(raw, True)

    return {
        "parse": lambda: each(parse, raws),
        "decode": lambda: each(decode, raws),
        "build": build("8"),
        "build_order": build("D"),
    }


def works() -> tuple[dict[str, Work], dict[str, dict[str, Work]]]:
    """Ours by metric, and by baseline theirs."""
    codec = Codec(FIX44)
    builder = Builder(b"FIX.4.4", b"VENUE", b"TICKLOOM")
    said = {"8": reports(), "D": orders()}

    def build(message: ExecutionReport | NewOrderSingle) -> bytes:
        msg_type, body = encode(message)
        return builder.build(msg_type, 12, time.time_ns(), body)

    def parse(raw: bytes) -> ExecutionReport:
        return decode_report(codec.decode(raw))

    def validate(raw: bytes) -> ExecutionReport:
        message = codec.decode(raw)
        assert codec.problem(message) is None
        return decode_report(message)

    raws = [build(report) for report in said["8"]]
    bodies = {
        kind: [
            [(tag, value.decode()) for tag, value in codec.decode(build(one)).fields()[7:-1]] for one in same
        ]
        for kind, same in said.items()
    }
    ours: dict[str, Work] = {
        "parse": lambda: each(parse, raws),
        "decode": lambda: each(codec.decode, raws),
        "validate": lambda: each(validate, raws),
        "build": lambda: each(build, said["8"]),
        "build_order": lambda: each(build, said["D"]),
    }
    theirs: dict[str, dict[str, Work]] = {
        "simplefix": {
            "parse": lambda: each(simplefix_parse, raws),
            "build": lambda: each(partial(simplefix_build, msg_type="8"), bodies["8"]),
            "build_order": lambda: each(partial(simplefix_build, msg_type="D"), bodies["D"]),
        },
        "plain byte splitter": {"decode": lambda: each(splitter, raws)},
    }
    if importlib.util.find_spec("quickfix"):
        theirs["quickfix"] = quickfix_works([raw.decode() for raw in raws], bodies)
    return ours, theirs


def rate(work: Work) -> tuple[float, float]:
    """Messages a second, and CPU seconds spent."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return MESSAGES / (time.perf_counter() - began), time.process_time() - cpu


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    ours, theirs = works()
    for name, work in ours.items():
        baselines = {peer: done[name] for peer, done in theirs.items() if name in done}
        work()
        mine: list[float] = []
        other: dict[str, list[float]] = {peer: [] for peer in baselines}
        cpu_s = 0.0
        for _ in range(runs):  # in turns, so that all see the machine as it is
            per_s, spent_s = rate(work)
            mine.append(per_s)
            cpu_s += spent_s
            for peer, done in baselines.items():
                other[peer].append(rate(done)[0])
        line: dict[str, object] = {
            "metric": f"execution.fix.{name}",
            "value": round(statistics.median(mine)),
            "unit": "messages/s",
            "cpu_s": round(cpu_s, 3),
            "runs": runs,
        }
        for peer, rates in sorted(other.items()):  # quickfix, where it is there, stands for "baseline"
            ratio = statistics.median(a / b for a, b in zip(mine, rates, strict=True))
            first = peer == ("quickfix" if "quickfix" in other else next(iter(other)))
            line |= {"baseline": peer, "ratio": round(ratio, 2)} if first else {f"to_{peer}": round(ratio, 2)}
            line[f"{peer} messages/s"] = round(statistics.median(rates))
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
