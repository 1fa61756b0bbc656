"""The local stack: servers and processes, started, watched and stopped on one machine.

``artifacts`` brings the JRE and the pinned jars, ``questdb``, ``kafka`` and ``flink`` say how each
server is launched, ``applications`` does the same for our own processes and Dagster's, ``guard``
keeps one process tree from outliving its owner, ``supervisor`` runs a set of services.
"""
