# ViT-Base/16 with an MLP on every token (§4.1: "a simple Multi-Layer Perceptron"); its width and depth are not in the paper.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
        test_cfg=dict(size_divisor=16),  # whole patches
    ),
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch='b',
        img_size=512,
        patch_size=16,
        out_type='featmap',
        drop_path_rate=0.0,  # with frozen_stages=12 features would stay random otherwise
    ),
    decode_head=dict(
        type='mmdel.MLPHead',
        in_channels=768,
        channels=256,
        depth=1,
        num_classes=2,
        dropout_ratio=0.1,
        norm_cfg=None,
        align_corners=False,
        # padding and unlabelled pixels do not weaken the loss
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
