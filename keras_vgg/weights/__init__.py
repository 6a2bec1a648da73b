"""Reading and writing weights of every public source: readers, writers, layouts, names, the catalogue of public weights."""
