"""The adapter between fsspec and a service: `filesystem` has all methods, `backend` what a service implements.

It imports `rinofs.http` and the modules of settings, and serves `rinofs.rinocloud` and `rinofs.repovizz`.
"""
