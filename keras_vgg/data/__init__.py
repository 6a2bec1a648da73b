"""Data sets by name, pure image operations, and the pipeline that brings examples to the devices."""
