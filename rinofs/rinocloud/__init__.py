"""Rinocloud: files and folders with numeric ids and JSON metadata."""
