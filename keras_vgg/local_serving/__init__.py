"""A local test server: the REST and gRPC routes of TensorFlow Serving over SavedModels. Not for production."""
