"""Both wire contracts as data: everything that client and server must agree on, defined once.

May import the standard library only, and Lark in `search_syntax` when a search is parsed. Serves every other
room: the clients of both services, the server and the command line.
"""
