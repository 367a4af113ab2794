"""File objects for reading and writing, and the sources that files read from.

May import fs.blocks, http and below. Serves the adapter in fs, and the backends.
"""
