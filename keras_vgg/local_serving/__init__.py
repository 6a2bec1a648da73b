"""A server for trying: the REST and gRPC routes of TensorFlow Serving over SavedModels, on one machine. Not for production."""
