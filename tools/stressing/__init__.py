"""What `tools/stress.py` does to the commands and their readers: failing writes, kills, damaged files."""
