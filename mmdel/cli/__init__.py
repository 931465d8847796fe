"""The command ``mmdel``: one file per command, and how all of them parse their arguments and print."""
