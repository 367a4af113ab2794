"""Contents of files, kept by digest."""
