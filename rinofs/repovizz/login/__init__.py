"""Logging in to repovizz2: OAuth2 with a browser, tokens that renew themselves."""
