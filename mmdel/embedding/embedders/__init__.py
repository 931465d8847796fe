"""Images to vectors, one file an encoder."""
