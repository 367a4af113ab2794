"""File objects for reading and writing."""
