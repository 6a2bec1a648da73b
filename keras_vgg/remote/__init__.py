"""Asking a model that TensorFlow Serving serves, over gRPC or REST."""
