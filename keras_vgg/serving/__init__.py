"""Contents of an exported SavedModel: its signatures, their warm-up requests and its model card."""
