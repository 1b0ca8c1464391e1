"""The machine that this process runs on: cores, GPUs, Jetsons, child processes, private files."""
