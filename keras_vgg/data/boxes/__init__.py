"""Images with the boxes of the objects that they show, and these boxes as targets."""
