"""Datasets by name, pure image operations, and the input pipeline."""
