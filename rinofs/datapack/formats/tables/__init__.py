"""Text tables, and JSON arrays of numbers: their dialect, values and times.

May import `document`, `datatypes`, and from `formats` detection and file handles. Serves `formats.readers`,
events, and the encoder of tables, which follows the same rules for labels.
"""
