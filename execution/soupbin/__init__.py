"""SoupBinTCP, the session under OUCH: framing and state machines, both ends. Pure; no socket, no clock."""
