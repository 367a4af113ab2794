"""The HTTP APIs of the two services, and the request of a signed-in user that both build on (`calls`).

It imports `services`, `auth`, `web`, `catalog` and `blobs`. The APIs never import each other.
It serves `app`.
"""
