"""HTTP without any service: connections, middleware, reading requests, responses with JSON and with content.

It imports the server's `errors` and `settings`, and the protocol of `blobs`. It serves `auth` and `api`.
"""
