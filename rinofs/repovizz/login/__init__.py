"""Logging in to repovizz2: OAuth2 with a browser, and tokens that renew themselves.

It imports `rinofs.http` and the store of profiles, and serves the backend, `rinofs.login` and the command
line.
"""
