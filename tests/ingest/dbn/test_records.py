"""The layouts are those of the package that Databento publishes."""

from __future__ import annotations

import databento_dbn as dbn
import numpy as np
import pytest

from ingest.dbn import decoder, records


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (records.MBP_0, dbn.TradeMsg),
        (records.MBP_1, dbn.MBP1Msg),
        (records.MBP_10, dbn.MBP10Msg),
        (records.MBO, dbn.MBOMsg),
        (records.STATUS, dbn.StatusMsg),
    ],
)
def test_layouts(ours: np.dtype[np.void], theirs: type) -> None:
    """Names, types and places of all fields."""
    assert ours == np.dtype(theirs._dtypes)  # type: ignore[attr-defined]


def test_names_in_definitions_and_mappings() -> None:
    """The symbol stands where the package has it, in each version."""
    for version, module in ((1, dbn.v1), (2, dbn.v2), (3, dbn.v3)):
        dtype = np.dtype(module.InstrumentDefMsg._dtypes)
        kind, place = dtype.fields["raw_symbol"]  # type: ignore[index]
        assert decoder._DEFINITIONS[version] == (dtype.itemsize, place, kind.itemsize)
    for ours, theirs in (
        (decoder._MAPPING_V1, dbn.SymbolMappingMsgV1),
        (decoder._MAPPING, dbn.SymbolMappingMsg),
    ):
        dtype = np.dtype(theirs._dtypes)
        kind, place = dtype.fields["stype_out_symbol"]  # type: ignore[index]
        assert ours == (dtype.itemsize, place, kind.itemsize)


def test_types_and_constants() -> None:
    """Every record type of the package has its name here; sentinels and flags are its own."""
    assert {int(kind): kind.name.lower() for kind in dbn.RType.variants()} == records.NAMES
    assert records.UNDEF_PRICE == dbn.UNDEF_PRICE
    flags = (dbn.F_LAST, dbn.F_TOB, dbn.F_SNAPSHOT, dbn.F_MBP, dbn.F_MAYBE_BAD_BOOK)
    assert flags == (
        records.FLAG_LAST,
        records.FLAG_TOB,
        records.FLAG_SNAPSHOT,
        records.FLAG_MBP,
        records.FLAG_MAYBE_BAD_BOOK,
    )
