"""The `rinofs` command: one module for each group of commands."""
