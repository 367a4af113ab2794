"""What is PostgreSQL's alone: connections, transactions, what it must be, and SQL that only it understands.

It imports budgets and errors of the server. It serves the catalog.
"""
