"""Feeds that speak JSON over websockets: one folder a venue, and a local venue that plays recorded lines."""
