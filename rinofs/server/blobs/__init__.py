"""Contents, kept by keys: the `BlobStore` protocol, and the stores that implement it.

Serves `web`, `catalog`, `services` and `maintenance`.
"""
