"""Selection methods, one per file; ``mmdel/selection/__init__.py`` imports them, ``configs/_base_/selectors`` configures them."""
