"""QuestDB: the schema (one numbered ``.sql`` a step), the writer, the reader."""
