"""The datapack document: immutable nodes and trees, edits, validation, JSON.

May import no other room of datapack. Serves all of them, the filesystem of repovizz2 and the server.
"""
