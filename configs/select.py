# What `mmdel select` begins with: the method that the evidence favours, on the encoder of the paper's configs. Images and the
# share to keep come from the command line.
_base_ = ['_base_/embedders/vit-base-p16_in1k.py', '_base_/selectors/coverage-groups.py']

default_scope = 'mmdel'  # every part says where it is from, and mmpretrain takes seconds to import
center = True  # raw features of one encoder all point the same way
cache_dir = 'work_dirs/.embeddings'
