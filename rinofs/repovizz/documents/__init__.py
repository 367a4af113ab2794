"""The structures of datapacks as the service keeps them: the cache of them, edits, and who edits when.

It imports the records, the client and the resolver of `rinofs.repovizz`, which it serves.
"""
