"""The repovizz2 API, version 1.0: routes, handlers, and the values in requests.

It imports `calls` and the rooms below the APIs, never `api.rinocloud`. It serves `app`.
"""
