"""What `tools/stress.py` does to the commands: failing writes and kills."""
