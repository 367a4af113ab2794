"""The repovizz2 API, version 1.0."""
