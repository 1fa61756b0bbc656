"""Trust in a channel with losses: an instrument is broken exactly while the decoder has no book of it."""

from __future__ import annotations

import random

import pytest

from ingest.capture import CaptureBatch
from ingest.sbe.mdp3.decoder import Mdp3Decoder
from ingest.trusted import TrustedDecoder
from tests.ingest.sbe.mdp3.test_streams import DEPTHS, SESSION, tape_of, timed
from tickloom.events import TrustReason, TrustState


@pytest.mark.parametrize("seed", range(3))
def test_broken_is_without_a_book(seed: int) -> None:
    """After every record; and what is said to be missing is what gaps say."""
    tape, chance = tape_of(seed, 400, snapshots_every=3), random.Random(seed)
    records = [
        record
        for record, sequence in zip(tape.records, tape.sequences, strict=True)
        if sequence <= 1 or chance.random() > 0.02
    ]
    decoder = Mdp3Decoder("XCME", SESSION)
    trusted = TrustedDecoder(decoder)
    was_broken, said, gaps = 0, set(), set()
    for at, record in enumerate(timed(records)):
        block = trusted.decode(CaptureBatch.of([record], at + 1))
        states = trusted.states()
        for security in DEPTHS:
            state = states.get(f"S{security}")
            if state is None:
                assert not decoder.is_synced(security)
            else:
                assert (state is TrustState.TRUSTED) == decoder.is_synced(security)
                was_broken += state is TrustState.BROKEN
        gaps |= {(int(row["first_missing"]), int(row["last_missing"])) for row in block.gaps}
        said |= {
            (int(row["first_missing"]), int(row["last_missing"]))
            for row in block.trust
            if row["reason"] == TrustReason.SEQUENCE
        }
    assert was_broken
    assert said
    assert said <= gaps
