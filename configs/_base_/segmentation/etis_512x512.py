_base_ = ['endoscopy_512x512.py']

dataset = dict(type='mmdel.ETISDataset', data_root='data/datadel/etis')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
