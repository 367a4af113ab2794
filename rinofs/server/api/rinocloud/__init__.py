"""The Rinocloud API, version 1: routes, handlers, and what requests ask for.

It imports `calls` and what lies below the APIs, never `api.repovizz`. It serves `app`.
"""
