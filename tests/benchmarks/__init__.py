"""Benchmarks against comparable tools; run by ``make bench``, never by the test suite."""
