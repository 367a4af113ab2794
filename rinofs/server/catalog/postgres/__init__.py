"""Everything specific to PostgreSQL: connections, transactions, requirements, and its SQL.

It imports budgets and errors of the server and the interface of query dialects. It serves the catalog.
"""
