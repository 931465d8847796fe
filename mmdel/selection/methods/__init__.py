"""Selection methods, one per file."""
