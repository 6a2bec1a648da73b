"""What an exported SavedModel holds: its signatures, their warm-up requests, the card that describes it."""
