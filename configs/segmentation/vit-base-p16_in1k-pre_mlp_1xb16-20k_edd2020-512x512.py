_base_ = ['../_base_/segmentation/in1k-pre.py', '../_base_/segmentation/edd2020_512x512.py']

model = dict(decode_head=dict(num_classes=6))
