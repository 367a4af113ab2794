"""Login to repovizz2: OAuth2 in a browser, and tokens that are refreshed automatically.

May import `rinofs.http` and the profile store. Serves the backend, `rinofs.login` and the command line.
"""
