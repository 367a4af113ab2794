"""The adapter between fsspec and a service: `filesystem` has every method, `backend` says what a service implements.

It imports `rinofs.http` and the modules of settings, and serves `rinofs.rinocloud` and `rinofs.repovizz`.
"""
