"""What rides along a training run of mmpretrain or mmseg."""
