"""File formats: from bytes to samples, in parts where a format allows it.

`detect` tells what a file is and `readers` which reader reads it; a format is one module. Imports `document`
and `datatypes`, and nothing of xarray. Serves `arrays` and, for the rules of text files, `authoring`.
"""
