"""Signing in: rules for passwords, tokens and OAuth2, and the pages where users authorize programs.

It imports `catalog` for its rows and `web` for requests and answers. It serves `services`, `api` and `app`.
"""
