"""What can be chosen on the command line. Imports nothing."""

COMMANDS = (
    "fit", "evaluate", "extract", "transfer_eval", "export", "convert-keras", "convert-weights-h5", "convert-h5", "convert-pth",
    "convert-safetensors", "download", "style", "heatmap",
)  # fmt: skip
DAMAGED = ("weights", "images")
