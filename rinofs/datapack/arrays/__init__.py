"""Streams and events as labelled arrays."""
