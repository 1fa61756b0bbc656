"""Limits: the tables of the file, reading it, changing it on the record."""

from execution.limits.change import AuditRecord, Change, audit_trail, change_limits, unrecorded
from execution.limits.file import FILE_VERSION, Limits, load, nearest, parse
from execution.limits.tables import (
    BreachPlan,
    FirmLimits,
    InstrumentLimits,
    LevelLimits,
    RuleLimits,
)
from execution.limits.watch import LimitsWatch, audit_path

__all__ = [
    "FILE_VERSION",
    "AuditRecord",
    "BreachPlan",
    "Change",
    "FirmLimits",
    "InstrumentLimits",
    "LevelLimits",
    "Limits",
    "LimitsWatch",
    "RuleLimits",
    "audit_path",
    "audit_trail",
    "change_limits",
    "load",
    "nearest",
    "parse",
    "unrecorded",
]
