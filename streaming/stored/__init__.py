"""Rules over stored events: runs over history, replays through Flink, and the proof that engines agree."""
