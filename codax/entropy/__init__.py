"""Exact networks, sources, tables, quantisers, and the range coder."""
