_base_ = ['endoscopy_512x512.py']

dataset = dict(type='mmdel.EAD2019Dataset', data_root='data/datadel/ead2019')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
