"""Both wire contracts as data: everything that client and server must agree on, defined once.

May import the standard library only, blake3 in `digests`, and Lark in `search_syntax`, when needed. Serves
every other room: the clients of both services, the server and the command line.
"""
