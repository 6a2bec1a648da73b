"""Client for models served by TensorFlow Serving, over gRPC or REST."""
