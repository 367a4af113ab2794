"""Sessions: a request until its response or its error. Retry policy, redirects, credentials, statuses.

May import http.connection and below. Serves http.content, and all who send requests.
"""
