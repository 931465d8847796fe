"""Which files of a folder are images to choose from."""
