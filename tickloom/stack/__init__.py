"""The local stack: servers and processes, started, watched and stopped on one machine.

What runs: ``artifacts`` brings the JRE and the pinned jars; ``questdb``, ``kafka`` and ``flink`` say
how each server is launched, ``applications`` does the same for our own processes and Dagster's and
holds the catalogue of them all; ``prepare`` makes topics and tables. How it runs: ``service`` is
what a service is, ``process`` one launch of it under its ``guard``, ``supervisor`` a set of them.
``configuration`` holds all their settings, ``doctor`` looks for what could go wrong.
"""
