"""Dagster: historical loads and the daily reconciliation, as assets with checks and schedules."""
