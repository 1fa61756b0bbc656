"""Historical loads: finished captures into QuestDB."""
