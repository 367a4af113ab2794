"""The datapack document: nodes, tree, edits, validation."""
