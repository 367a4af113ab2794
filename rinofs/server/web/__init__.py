"""HTTP, independent of any service: connections, middleware, requests, responses with JSON and content.

It imports the server's `errors`, `settings` and `budgets`, and the protocol of `blobs`. `auth` and `api` use
it.
"""
