"""Formats of laboratories: files of several streams, annotations, and what older services left.

Each module reads one into a `Recording`. They import what `formats` has, and are imported where a file needs
one; `detect` tells them by their beginnings alone.
"""
