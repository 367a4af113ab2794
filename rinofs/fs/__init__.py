"""The adapter between fsspec and a service: `filesystem` has all methods, `backend` says what a service does.

It imports `rinofs.http` and the modules of settings, and serves `rinofs.rinocloud` and `rinofs.repovizz`.
"""
