"""Contents on the wire: ranges, verification, upload bodies."""
