"""Descriptors of images (Appendix B): a layer's activations, averaged over positions, scales and mirror images, in files."""
