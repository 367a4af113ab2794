"""Queries: keywords to the query language, and what was found."""
