"""From the native forms in which people download datasets to the canonical layout: what goes where, by names alone."""
