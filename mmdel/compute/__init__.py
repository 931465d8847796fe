"""What every run needs, whatever it computes."""
