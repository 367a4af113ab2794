"""HTTP: sessions, retries, resumed reads, verified transfers.

The only client of HTTP in rinofs: connection below session below content. It knows nothing of the services:
paths, records and versions come from above. May import errors and protocol; serves fs, rinocloud, repovizz.
"""
