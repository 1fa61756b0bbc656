"""The gateway to any venue that speaks FIX 4.4 or 4.2."""
