"""Streams and events as labelled arrays for xarray (``engine="datapack"``), read on demand.

May import `document`, `datatypes` and `formats`; gets filesystems from fsspec's registry. Serves users and
`plotting`.
"""
