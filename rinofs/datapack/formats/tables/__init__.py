"""Tables written as text, and JSON arrays of numbers: how they are written, their values and times.

Imports `document`, `datatypes`, and of `formats` what a file is and how it is read. Serves `formats.readers`,
events, and for the rules of labels what writes tables.
"""
