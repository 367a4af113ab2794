"""HTTP: sessions, retries, resumed reads, verified transfers.

All HTTP requests of the client go through here, in three layers: connection, session, content. The room does
not depend on a service. May import errors and protocol; serves fs, rinocloud, repovizz.
"""
