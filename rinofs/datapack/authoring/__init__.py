"""Labelled arrays to datapacks."""
