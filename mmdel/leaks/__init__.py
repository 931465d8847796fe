"""Copies of test images in a pool: searched for, compared as pictures, recorded."""
