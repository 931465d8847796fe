"""Studies without training: pools drawn from an archive, and what the images chosen from them are worth."""
