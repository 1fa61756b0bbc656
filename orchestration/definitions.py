"""Everything Dagster may run: ``dagster-webserver -m orchestration.definitions``."""

from __future__ import annotations

import dagster as dg

from orchestration.defs.archive.assets import packed_captures
from orchestration.defs.calibration.assets import pair_calibrations
from orchestration.defs.costs.assets import order_costs
from orchestration.defs.history.assets import historical_ticks
from orchestration.defs.parity.assets import rule_parity
from orchestration.defs.reconciliation.assets import order_records, tick_counts
from orchestration.defs.risk.assets import var_backtest
from orchestration.defs.routing.assets import destination_quotes, routing_regret
from orchestration.defs.schedules import (
    backtest_yesterday,
    calibrate_yesterday,
    cost_yesterday,
    daily_archive,
    daily_calibration,
    daily_costs,
    daily_parity,
    daily_reconciliation,
    daily_risk,
    daily_routing,
    historical_load,
    pack_yesterday,
    prove_yesterday,
    reconcile_yesterday,
    regret_yesterday,
)

defs = dg.Definitions(
    assets=[
        historical_ticks,
        packed_captures,
        tick_counts,
        order_records,
        rule_parity,
        pair_calibrations,
        var_backtest,
        destination_quotes,
        routing_regret,
        order_costs,
    ],
    jobs=[
        historical_load,
        daily_reconciliation,
        daily_parity,
        daily_calibration,
        daily_risk,
        daily_routing,
        daily_costs,
        daily_archive,
    ],
    schedules=[
        reconcile_yesterday,
        prove_yesterday,
        calibrate_yesterday,
        backtest_yesterday,
        regret_yesterday,
        cost_yesterday,
        pack_yesterday,
    ],
    executor=dg.in_process_executor,  # a process for each step would start Python and its kernels anew
)
