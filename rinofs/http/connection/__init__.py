"""Connections and what goes over them: one request, one answer."""
