"""Dagster definitions, one folder a source of work."""
