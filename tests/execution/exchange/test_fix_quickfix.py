"""QuickFIX's initiator against the exchange's FIX port, where its Python binding is installed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.execution.exchange.fix_world import OTHER, FixVenue

pytest.importorskip("quickfix", reason="pip install quickfix builds it in some minutes")

WAIT_S = 30.0
SETTINGS = """
[DEFAULT]
ConnectionType=initiator
SocketConnectHost=127.0.0.1
SocketConnectPort={port}
ReconnectInterval=1
HeartBtInt=5
StartTime=00:00:00
EndTime=00:00:00
FileStorePath={directory}/store
UseDataDictionary=Y
DataDictionary={dictionary}
[SESSION]
BeginString=FIX.4.4
SenderCompID={client}
TargetCompID=XNAS
"""


def test_quickfix_trades_here(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    """An order that is filled, one that is replaced, asked for and cancelled, a cancel that is too late, an
    order that is refused: QuickFIX's dictionary passes every message, and each says what happened."""

    async def run() -> list[dict[str, str]]:
        venue = FixVenue(tmp_path)
        await venue.start()
        (tmp_path / "client.cfg").write_text(
            SETTINGS.format(
                port=venue.fix_port,
                directory=tmp_path,
                dictionary=shared_data("fix/spec/FIX44.xml"),
                client=OTHER,
            )
        )
        script = Path(__file__).with_name("quickfix_client.py")
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, str(script), str(tmp_path / "client.cfg")), stdout=asyncio.subprocess.PIPE
        )
        told: list[dict[str, str]] = []
        assert child.stdout is not None
        try:
            async with asyncio.timeout(WAIT_S):
                while len(told) < 8:
                    line = (await child.stdout.readline()).decode()
                    if line.startswith("8="):
                        told.append(dict(field.split("=", 1) for field in line.strip().strip("|").split("|")))
        finally:
            child.kill()
            await child.wait()
            await venue.stop()
        return told

    told = asyncio.run(run())
    assert [(one["35"], one.get("11"), one.get("41"), one.get("150"), one["39"]) for one in told] == [
        ("8", "A", None, "0", "0"),
        ("8", "A", None, "F", "2"),
        ("8", "B", None, "0", "0"),
        ("8", "C", "B", "5", "0"),
        ("8", "C", None, "I", "0"),
        ("8", "D", "C", "4", "4"),
        ("9", "E", "C", None, "4"),
        ("8", "F", None, "8", "8"),
    ]
    fill, refused = told[1], told[-1]
    assert (fill["31"], fill["32"], fill["14"], fill["151"], fill["6"]) == (
        "152.41",
        "10",
        "10",
        "0",
        "152.41",
    )
    assert (refused["103"], "lots" in refused["58"]) == ("13", True)
    assert told[6]["102"] == "0"
