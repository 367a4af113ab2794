"""Datatypes: what the numbers in a file are."""
