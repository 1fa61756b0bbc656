"""Lineage: from an order back to the packets it came from.

``records`` reads the journal, ``model`` is what comes out (and the schema of its JSON), ``sources`` says what
is asked of other stages (ticks, rule texts, packets), ``trace`` puts it together, ``text`` writes it for a
person.
"""

from execution.lineage.model import SCHEMA_VERSION, Lineage
from execution.lineage.sources import PacketSource, RuleSource, Sources, TickSource, Unavailable
from execution.lineage.trace import trace

__all__ = [
    "SCHEMA_VERSION",
    "Lineage",
    "PacketSource",
    "RuleSource",
    "Sources",
    "TickSource",
    "Unavailable",
    "trace",
]
