"""Sessions: a request until its response or error. Retries, redirects, authorization, statuses.

May import http.connection and below. Serves http.content and everything else that sends requests.
"""
