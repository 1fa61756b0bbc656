"""Gateway to a venue that speaks OUCH 5.0 over SoupBinTCP."""
