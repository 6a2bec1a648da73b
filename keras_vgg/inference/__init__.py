"""Runs nets over images in batches: from views to rows (posteriors, features), cached by content."""
