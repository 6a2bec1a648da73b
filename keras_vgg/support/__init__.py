"""Utilities shared by all parts: flags, files, paths, progress, pictures, streams, the machine."""
