# ViT-B/16, MAE pre-training without labels on ImageNet-1k, 1600 epochs. 768-d mean of the patch tokens: MAE has no loss that
# trains the class token.
embedder = dict(
    type='mmdel.ViTEmbedder',
    backbone=dict(type='mmpretrain.VisionTransformer', arch='base', patch_size=16),
    checkpoint='https://mmassets.onedl.ai/mmselfsup/1.x/mae/mae_vit-base-p16_8xb512-fp16-coslr-1600e_in1k/'
    'mae_vit-base-p16_8xb512-fp16-coslr-1600e_in1k_20220825-f7569ca2.pth',
    prefix='backbone.',
    feature='avg_patch',
    out_index=-1,
    input_size=224,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    precision='auto',
    batch_size=32,
    pipeline=[dict(type='mmdel.LoadFrame')],
)
