"""QuestDB: the schema (one numbered ``.sql`` a step), the writer, the reader.

``schema.apply`` makes the tables, :class:`QuestDbSink` writes market events and
:class:`QuestDbFacts` what the agent did, :class:`QuestDbReader` asks for them again.
"""

from storage.applied import wait_applied
from storage.facts import QuestDbFacts
from storage.reader import QuestDbReader
from storage.writer import QuestDbSink

__all__ = ["QuestDbFacts", "QuestDbReader", "QuestDbSink", "wait_applied"]
