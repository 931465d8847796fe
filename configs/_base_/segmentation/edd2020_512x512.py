_base_ = ['endoscopy_512x512.py']

dataset = dict(type='mmdel.EDD2020Dataset', data_root='data/datadel/edd2020')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
