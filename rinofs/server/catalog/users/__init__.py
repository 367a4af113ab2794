"""Users: their tokens, what they have granted to programs, their sign-ins, and the audit log.

It may import the modules of `rinofs.server.catalog` and its locks, and serves `rinofs.server.auth`; all
code that changes something writes to the audit log.
"""
