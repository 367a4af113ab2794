"""Write datapacks from labelled arrays: files, datatypes, and a document, all or nothing.

May import all rooms of datapack below it. Serves `rinofs.datapack.write` and the command line.
"""
