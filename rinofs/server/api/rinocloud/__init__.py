"""The Rinocloud API, version 1."""
