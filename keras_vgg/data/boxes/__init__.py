"""Images with bounding boxes of their objects, and these boxes as targets."""
