"""Additions to a training of mmpretrain or mmseg: precision, resuming, checks, and how long to train."""

from mmdel.training.auto_amp_optim_wrapper import AutoAmpOptimWrapper
from mmdel.training.pretrained_check_hook import PretrainedCheckHook
from mmdel.training.resumable_epoch_train_loop import ResumableEpochTrainLoop, ResumableSampler

__all__ = ['AutoAmpOptimWrapper', 'PretrainedCheckHook', 'ResumableEpochTrainLoop', 'ResumableSampler']
