"""The Rinocloud API, version 1: routes, handlers, and the values in requests.

It imports `calls` and the rooms below the APIs, never `api.repovizz`. It serves `app`.
"""
