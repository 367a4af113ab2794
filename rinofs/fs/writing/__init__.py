"""How contents are stored: whole ones, what is appended, and what a transaction keeps aside.

It imports what is below `rinofs.fs.filesystem`, which alone it serves.
"""
