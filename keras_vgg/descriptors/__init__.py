"""Descriptors of images (Appendix B): a layer's activations, averaged over places, scales and mirror images, in files."""
