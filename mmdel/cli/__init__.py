"""What a person starts: ``python -m mmdel COMMAND``."""
