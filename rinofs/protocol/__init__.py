"""Both wire contracts as data: what client and server have to agree on, each spelled once.

It imports the standard library only, but for Lark in `search_syntax`, when a search is parsed. It serves
every other room: the clients of both services, the server and the command line.
"""
