"""What both sides of the wire agree on; the standard library only."""
