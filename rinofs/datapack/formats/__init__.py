"""File formats: read samples from files, in parts if the format allows it.

`detect` recognises formats, and `readers` chooses the reader; each format has its own module. May import
`document` and `datatypes`, but not xarray. Serves `arrays`, and `authoring`, which follows the same rules for
text files.
"""
