"""Many files at once, and one large one: plans, workers, bundles."""
