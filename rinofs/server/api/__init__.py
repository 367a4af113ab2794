"""The HTTP APIs of two services, and the request of a signed-in user that both start from (`calls`).

They import what is below: `services`, `auth`, `web`, `catalog`, `blobs`; never each other. They serve `app`.
"""
