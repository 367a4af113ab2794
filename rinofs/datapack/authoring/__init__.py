"""Labelled arrays to datapacks: what goes into which file, its datatype, and the writing of all or nothing.

Imports all rooms of datapack below it. Serves `rinofs.datapack.write` and the command line.
"""
