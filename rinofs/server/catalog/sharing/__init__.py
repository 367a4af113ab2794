"""What several processes that work on one database share: locks, leases, and the deletion of what expired.

It may import the modules of `rinofs.server.catalog` and the protocols of `rinofs.server.blobs`. It serves
everything that writes to the database, and the collection.
"""
