"""Real MDP 3.0 datagrams by name, and the frames around messages."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from ingest.capture import CaptureBatch, RecordKind
from ingest.pcap import read_pcap
from ingest.sbe import ColumnDecoder, ObjectDecoder
from ingest.sbe.mdp3.decoder import Mdp3Decoder
from ingest.sbe.mdp3.packets import frames_of, pack, parse
from ingest.sbe.mdp3.schema import mdp3_schema
from ingest.sbe.objects import Decoded
from tests.ingest.sbe.mdp3.venue import NOW, book, book_entry, packet

SharedData = Callable[[str], Path]
FOLDER = "omi_packets/cme_mdp3_v19"
#: File to the templates of its messages in order; sizes are those on the wire.
FILES = {
    "MdIncrementalRefreshBook": [46, 46],
    "MdIncrementalRefreshOrderBook": [47],
    "MdIncrementalRefreshTradeSummary": [48, 37, 47, 46, 46],
    "MdIncrementalRefreshVolume": [37, 46, 46, 48, 37, 46, 46],
}


def payload_of(shared_data: SharedData, name: str) -> bytes:
    payloads = [payload for _, payload in read_pcap(shared_data(f"{FOLDER}/{name}.pcap"))]
    assert len(payloads) == 1
    assert payloads[0] is not None
    return payloads[0]


def messages_of(payload: bytes) -> list[Decoded]:
    found = parse(payload)
    assert found is not None
    assert found.whole
    decoder, out = ObjectDecoder(mdp3_schema()), []
    for start, stop in found.frames:
        decoded = decoder.decode(payload, start, stop)
        assert decoded.size == stop - start  # nothing is left over
        out.append(decoded)
    return out


@pytest.mark.parametrize("name", FILES)
def test_every_packet_decodes_to_the_templates_it_holds(shared_data: SharedData, name: str) -> None:
    """Whole frames, whole messages, of schema version 9, the first or last of them the one of the name."""
    messages = messages_of(payload_of(shared_data, name))
    assert [message.template_id for message in messages] == FILES[name]
    assert name.lower() in {message.name.lower() for message in messages}
    assert {message.version for message in messages} == {9}


@pytest.mark.parametrize("name", FILES)
def test_columns_hold_what_objects_hold(shared_data: SharedData, name: str) -> None:
    """Both decoders, over the same datagram: every column of every entry."""
    payload = payload_of(shared_data, name)
    data = np.frombuffer(bytearray(payload), dtype=np.uint8)
    starts, stops, cut = frames_of(data, np.array([0, len(payload)], dtype=np.int64))
    columns = ColumnDecoder(mdp3_schema()).decode(data, starts, stops)
    assert (cut, columns.counters) == (0, {"decoded": len(FILES[name])})
    for template, found in columns.by_template.items():
        objects = [message for message in messages_of(payload) if message.template_id == template]
        times = [message.values["TransactTime"] for message in objects]
        assert found.root.rows["TransactTime"].tolist() == times
        entries = [entry for message in objects for entry in message.values["NoMDEntries"]]
        rows = found.groups["NoMDEntries"].rows
        assert rows["SecurityID"].tolist() == [entry["SecurityID"] for entry in entries]
        if "MDEntryPx.mantissa" in (rows.dtype.names or ()):
            prices = [entry["MDEntryPx"] for entry in entries]
            assert [Decimal(int(raw)).scaleb(-9) for raw in rows["MDEntryPx.mantissa"]] == prices


def test_a_real_trade(shared_data: SharedData) -> None:
    """Two contracts sold at 12,952 of instrument 170506, and its book waits for a snapshot."""
    payload = payload_of(shared_data, "MdIncrementalRefreshTradeSummary")
    decoder = Mdp3Decoder("XCME", "20180912.310")
    block = decoder.decode(CaptureBatch.of([(RecordKind.DATA, 1, payload)]))
    (row,) = block.trades
    assert block.symbols.names[row["symbol"]] == "170506"
    assert (row["price"], row["size"], row["side"]) == (12_952 * 10**9, 2 * 10**9, 2)
    assert (row["venue_id"], row["ts_event"]) == (341_412, 1_536_760_535_670_166_278)
    assert decoder.message_types == {37: 1, 46: 2, 47: 1, 48: 1}
    assert decoder.expected == 884_141
    assert not decoder.is_synced(170_506)


def test_every_real_packet_is_taken_whole(shared_data: SharedData) -> None:
    """Nothing in them is unknown, malformed or odd to the decoder."""
    for name, templates in FILES.items():
        decoder = Mdp3Decoder("XCME", "20180912.310")
        decoder.decode(CaptureBatch.of([(RecordKind.DATA, 1, payload_of(shared_data, name))]))
        usual = {"decoded", "packets", "undefined_instrument", "order_entries", "implied"}
        assert set(decoder.counters) <= usual
        assert decoder.counters["decoded"] == len(templates)


def test_packing_is_the_inverse_of_parsing() -> None:
    """Frames come back, an end inside a message is seen, and less than a head is no packet."""
    raws = [book(NOW, [book_entry(1, 1, "0", 0, 1, 10**9, 5)]), book(NOW, [])]
    payload = pack(7, NOW, raws)
    assert payload == packet(7, NOW, raws)
    found = parse(payload)
    assert found is not None
    assert (found.sequence, found.sending_time, found.whole) == (7, NOW, True)
    assert [payload[start:stop] for start, stop in found.frames] == raws
    cut = parse(payload[:-1])
    assert cut is not None
    assert (len(cut.frames), cut.whole) == (1, False)
    assert parse(payload[:11]) is None
