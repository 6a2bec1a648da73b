"""Comparison of two folders of images: by pairs with LPIPS or DISTS, or as sets with precision and recall."""
