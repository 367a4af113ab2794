"""Transfer many files at once, or one large file: plans, workers, bundles."""
