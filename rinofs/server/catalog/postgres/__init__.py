"""What is PostgreSQL's alone: connections, transactions, what it must be, and SQL that only it understands.

It imports budgets and errors of the server and what queries need of each database. It serves the catalog.
"""
