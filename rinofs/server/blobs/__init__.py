"""Contents stored under keys: the `BlobStore` protocol, and the stores that implement it.

Used by `web`, `catalog`, `services` and `maintenance`.
"""
