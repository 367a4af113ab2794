"""The repovizz2 API, version 1.0: routes, handlers, and what requests ask for.

It imports `calls` and what lies below the APIs, never `api.rinocloud`. It serves `app`.
"""
