"""Contents, kept by keys: the `BlobStore` protocol, and the stores that implement it.

It imports the server's `errors` alone. It serves `web`, `catalog`, `services` and `maintenance`.
"""
