"""Weights from every public source, and to them: readers, writers, layouts, names, the catalogue of public weights."""
