"""What a config says, and whether it can be so."""
