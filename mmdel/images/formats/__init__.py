"""File formats: from bytes to pixels.

    raster.decode(data, max_pixels)          # one picture: uint8 [H, W, 3], BGR, upright
    raster.open_maximum(data, max_pixels)    # what its values go up to, where nothing in the file says how many bits count
    pages.count(file)                        # how many pictures an open file holds
    tiff.read_pages(file)                    # the pages of a TIFF file, each of which can be cut out as a file of its own

Nothing here knows paths: what the system says of a file is the business of :mod:`mmdel.images.image_file`.
"""
