"""The command ``python -m mmdel COMMAND``, and how all tools parse their arguments."""
