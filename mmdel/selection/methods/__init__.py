"""Ways to rank images, one file a method."""
