"""File formats: from bytes to samples."""
