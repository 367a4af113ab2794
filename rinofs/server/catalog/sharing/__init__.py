"""What processes on one database share: locks, leases, and the deletion of expired rows.

It may import the modules of `rinofs.server.catalog` and the protocols of `rinofs.server.blobs`. It serves
everything that writes to the database, and garbage collection.
"""
