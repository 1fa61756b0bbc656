"""FIX 4.4 and 4.2: codec, session and application layer, without a venue in them. See docs/fix.md."""
