# DINOv2 ViT-S/14, self-supervised on LVD-142M. 384-d class token. Trained at 518 px; 224 px are a sixth of the
# work and enough here.
embedder = dict(
    type='mmdel.ViTEmbedder',
    backbone=dict(type='mmpretrain.VisionTransformer', arch='dinov2-small', patch_size=14, layer_scale_init_value=1e-5),
    checkpoint='https://mmassets.onedl.ai/mmpretrain/v1.0/dinov2/vit-small-p14_dinov2-pre_3rdparty_20230426-5641ca5a.pth',
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
