"""Signals in, orders out: the agent, the order state machine, risk, the journal, venue gateways."""

import tickloom  # noqa: F401  (before Numba: it says where compiled kernels are kept)
