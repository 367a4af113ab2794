"""Streams and events as labelled arrays of xarray, read when they are used; ``engine="datapack"``.

Imports `document`, `datatypes` and `formats`; finds filesystems by fsspec's
registry. Serves users, and `plotting`.
"""
