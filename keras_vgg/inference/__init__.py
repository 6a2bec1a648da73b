"""The engine that runs nets over images: views of an image to rows (posteriors, features), in batches, kept by content."""
