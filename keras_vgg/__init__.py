"""VGG (Simonyan & Zisserman, ICLR 2015), the whole system, on TensorFlow and Keras 3.

Importing the package costs nothing: TensorFlow is imported by the module that needs it, so that `--help`,
`configs` and `recipe` answer at once.
"""

__version__ = "0.1.0"
