"""The datapack document: its nodes and tree as frozen values, edits, validation, JSON text.

Imports nothing of the other rooms of datapack. Serves all of them, the service's filesystem and the server.
"""
