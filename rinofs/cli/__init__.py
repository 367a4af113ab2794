"""The command line `rinofs`: how URLs, output, errors and progress are handled for all commands.

The commands are in `commands`. The room may import what is below it in the table of layers.
"""
