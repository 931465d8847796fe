_base_ = ['../_base_/segmentation/in1k-pre.py', '../_base_/segmentation/cvc-colondb_512x512.py']
