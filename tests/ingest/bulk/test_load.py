"""Files of feeds and captures, straight on: the events that a capture of the file gives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ingest.bulk.load import Options, load, open_source
from ingest.bulk.tables import TableOptions
from ingest.feeds import decoder_for, load_file
from ingest.pipeline import load_capture
from tests.ingest.bulk.test_tables import Taken
from tests.ingest.dbn.test_decoder import DAY, trade
from tests.ingest.dbn_naive import encoded
from tickloom.errors import CaptureError, SettingsError
from tickloom.events import EventBlock


def same(ours: list[EventBlock], others: list[EventBlock]) -> bool:
    kinds = others[0].kinds()
    return all(
        np.array_equal(*(np.concatenate([block.kinds()[kind] for block in some]) for some in (ours, others)))
        for kind in kinds
    )


def captured(path: Path, tmp_path: Path, venue: str, day: date | None) -> tuple[Path, list[EventBlock]]:
    loaded = load_file(path, tmp_path / "data", venue, day)
    return loaded.path, list(load_capture(loaded.path, decoder_for(venue, loaded.session)))


@pytest.mark.parametrize(
    ("name", "venue", "day"),
    [
        ("itch/ritch_ex20101224.TEST_ITCH_50", "XNAS", date(2010, 12, 24)),
        ("dbn/test_data.mbp-10.v3.dbn.zst", "", None),
    ],
)
def test_same_events_as_by_a_capture(
    shared_data: Callable[[str], Path], tmp_path: Path, name: str, venue: str, day: date | None
) -> None:
    """A file straight on, its capture, and the capture loaded: one and the same."""
    path = shared_data(name)
    direct = Taken()
    source = open_source(path, Options(tmp_path, venue, table=TableOptions(day=day)))
    loaded = load(source, [direct])
    folder, blocks = captured(path, tmp_path, venue or source.venue, day)
    assert same(direct.blocks, blocks)
    assert (source.session, loaded.events) == (
        folder.name,
        sum(len(block) - len(block.trust) for block in blocks),
    )
    again = Taken()
    capture = open_source(folder, Options(tmp_path))
    load(capture, [again])
    assert same(again.blocks, blocks)
    assert (capture.venue, capture.session) == (source.venue, source.session)
    assert direct.watermarks[-1] == again.watermarks[-1] > 0
    assert capture.position() > 0


def test_what_has_to_be_said(tmp_path: Path) -> None:
    """The day of a file that does not tell it; the venue of a dataset that is none of ours; a folder that is
    no capture."""
    path = tmp_path / "itch"
    path.write_bytes(bytes(50))
    with pytest.raises(SettingsError, match="does not tell its trading day"):
        load(open_source(path, Options(tmp_path, "XNAS")), [])
    with pytest.raises(CaptureError, match="a folder without a capture"):
        open_source(tmp_path, Options(tmp_path))
    path.write_bytes(encoded([trade()], "trades").replace(b"XNAS.ITCH", b"OPRA.PILL"))
    with pytest.raises(SettingsError, match=r"is of dataset OPRA\.PILL; say with --venue"):
        open_source(path, Options(tmp_path))
    source = open_source(path, Options(tmp_path, "XNAS", table=TableOptions(day=DAY)))
    assert load(source, []).by_table()["trades"] == 1
