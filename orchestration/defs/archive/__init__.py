"""Captures of past days: verified and packed."""
