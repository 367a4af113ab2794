"""The command line `rinofs`: URLs, output, errors and progress, shared by all commands.

The commands are in `commands`. May import the rooms below it in the table of layers.
"""
