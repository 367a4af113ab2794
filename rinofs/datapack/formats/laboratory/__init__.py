"""Laboratory formats: files with several streams, annotations, and repoVizz 1.

Each module reads one format into a `Recording`. May import `formats`; a module is imported when a file needs
it. `recordings` recognises these formats by the beginning of a file.
"""
