"""Storing contents: whole files, appending, and transactions.

May import the rooms below `rinofs.fs.filesystem`, which is its only user.
"""
