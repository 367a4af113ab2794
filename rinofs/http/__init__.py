"""HTTP: sessions, retries, resumed reads, verified transfers.

The only part of rinofs that talks HTTP. It knows nothing of the services: paths, records and versions
come from above.
"""
