"""Where a live job begins, and whose a savepoint is: by text alone."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from streaming.live import origin, savepoint
from streaming.live.origin import Identity
from tickloom.errors import ServiceError

PROBE = Identity("probe", "1+0a1b2c3d", "compiled", "88bd1710")


def test_savepoints_folder_says_whose_it_is() -> None:
    """What `stop` names, `submit` reads back, though Flink writes the path as a URL."""
    for location in (
        f"file:/flink/savepoints/{PROBE.folder}/savepoint-9b794c-070fb75f1eab",
        f"file:///flink/savepoints/{PROBE.folder.replace('+', '%2B')}/savepoint-9b794c-070fb75f1eab/",
    ):
        assert origin.of_savepoint(location) == PROBE
    assert origin.of_savepoint("file:/flink/savepoints/savepoint-9b794c") is None
    assert origin.of_savepoint("savepoint-9b794c") is None


def test_jobs_parameters_say_the_same() -> None:
    """Flink keeps them as a map, written as key:value pairs."""
    written = dict(pair.split(":") for pair in PROBE.parameters.split(","))
    assert origin.of_parameters(written) == PROBE
    assert origin.of_parameters({}) is None


def test_text_and_values_are_the_identity() -> None:
    """A blank line more is the same rule; another word or another value is not."""
    values = {"": {"rise": "0.1", "span": "1s"}}
    known = origin.text_hash("SELECT 1", values)
    assert origin.text_hash("\n\nSELECT 1\n", {"": {"span": "1s", "rise": "0.1"}}) == known
    assert origin.text_hash("SELECT 2", values) != known
    assert origin.text_hash("SELECT 1", {"": {"rise": "0.2", "span": "1s"}}) != known
    assert replace(PROBE, engine="flink").folder != PROBE.folder


def test_offsets_are_read_from_flinks_bytes() -> None:
    """An entry as Flink 2.3 wrote it into a savepoint, behind another."""
    entry = bytes.fromhex(
        "000000280000000000000020000a7469636b732e584e41530000000300000000000000118000000000000000"
    )
    assert savepoint.split(b"\0" * 44 + entry, 44) == ("ticks.XNAS", 3, 17)
    with pytest.raises(ServiceError, match="version 1, known is 0"):
        savepoint.split(entry[:4] + struct.pack(">i", 1) + entry[8:], 0)
