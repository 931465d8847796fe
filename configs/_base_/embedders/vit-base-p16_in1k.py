# The default: ViT-B/16, trained with labels on ImageNet-1k at 224 px (82.4 % top-1; vit-base-p16_32xb128-mae_in1k of mmpretrain's
# model zoo, which follows the MAE paper's supervised recipe and is no MAE pre-training). 768-d class token, as in the paper.
embedder = dict(
    type='mmdel.ViTEmbedder',
    backbone=dict(type='mmpretrain.VisionTransformer', arch='base', patch_size=16),
    checkpoint='https://mmassets.onedl.ai/mmclassification/v0/vit/vit-base-p16_pt-32xb128-mae_in1k_20220623-4c544545.pth',
    prefix='backbone.',
    feature='cls_token',
    out_index=-1,
    input_size=224,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    precision='auto',
    batch_size=32,
    pipeline=[dict(type='mmdel.LoadFrame')],
)
