"""Rules on a Flink cluster: jobs and where they begin, the operator, sources, quarantine, the Java parts."""
