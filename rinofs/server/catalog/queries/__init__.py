"""The query language as SQL."""
