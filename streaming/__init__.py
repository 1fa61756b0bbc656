"""Events in, signals out: Flink tables over the tick topics, the rule compiler and linter, the jobs."""
