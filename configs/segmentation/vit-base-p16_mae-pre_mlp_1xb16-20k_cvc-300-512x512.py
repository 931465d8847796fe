_base_ = ['../_base_/segmentation/mae-pre.py', '../_base_/segmentation/cvc-300_512x512.py']
