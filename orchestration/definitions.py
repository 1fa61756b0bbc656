"""Everything Dagster may run: ``dagster-webserver -m orchestration.definitions``."""

from __future__ import annotations

import dagster as dg

from orchestration.defs.history.assets import historical_ticks
from orchestration.defs.parity.assets import rule_parity
from orchestration.defs.reconciliation.assets import order_records, tick_counts
from orchestration.defs.schedules import (
    daily_parity,
    daily_reconciliation,
    historical_load,
    prove_yesterday,
    reconcile_yesterday,
)

defs = dg.Definitions(
    assets=[historical_ticks, tick_counts, order_records, rule_parity],
    jobs=[historical_load, daily_reconciliation, daily_parity],
    schedules=[reconcile_yesterday, prove_yesterday],
    executor=dg.in_process_executor,  # a process for each step would start Python and its kernels anew
)
