"""The documents of datapacks at the service: cache, edits, and queues of edits.

May import the records, the client and the resolver of `rinofs.repovizz`, which it serves.
"""
