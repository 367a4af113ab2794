"""Measurements beside the peers; run by ``make bench``, never by the test suite."""
