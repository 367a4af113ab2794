"""Signing in: rules for passwords, tokens and OAuth2, and the pages on which users let programs in.

It imports `catalog` for its rows and `web` for requests and answers. It serves `services`, `api` and `app`.
"""
