"""Signals in, orders out: the agent, the order state machine, risk, the journal, venue gateways."""
