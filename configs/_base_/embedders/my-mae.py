# A MAE of one's own, as mmpretrain's tools/train.py leaves it: --encoder my-mae --cfg-options embedder.checkpoint=FILE.pth
_base_ = ['mae-vit-base-p16.py']

embedder = dict(checkpoint='FILE.pth')
