"""QuestDB: the schema (one numbered ``.sql`` a step), the writer, the reader.

``schema.apply`` makes the tables, :class:`QuestDbSink` writes market events and
:class:`QuestDbFacts` what the agent did, :class:`QuestDbReader` asks for them again.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.applied import wait_applied
    from storage.facts import QuestDbFacts
    from storage.reader import QuestDbReader
    from storage.writer import QuestDbSink

__all__ = ["QuestDbFacts", "QuestDbReader", "QuestDbSink", "wait_applied"]

_HOMES = {
    "QuestDbFacts": "facts",
    "QuestDbReader": "reader",
    "QuestDbSink": "writer",
    "wait_applied": "applied",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: pandas and pyarrow take longer than a question over the PostgreSQL wire."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
