_base_ = ['../_base_/segmentation/mae-pre.py', '../_base_/segmentation/cvc-colondb_512x512.py']
