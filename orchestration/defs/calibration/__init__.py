"""Calibration of pairs over stored bars."""
