"""Reading configs, and checking them."""
