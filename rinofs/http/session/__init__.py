"""One request until its answer or its error: tries, waits, credentials."""
