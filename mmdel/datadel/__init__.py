"""The paper's fourteen sets: catalogue, downloads, converters, splits."""
