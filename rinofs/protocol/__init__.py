"""Both wire contracts as data: what client and server have to agree on, each spelled once.

It imports the standard library only, and serves every other room: the clients of both services, the server
and the command line.
"""
