"""SoupBinTCP, the session under OUCH and under ITCH on TCP: framing and state machines, both ends. Pure."""
