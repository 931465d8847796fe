_base_ = ['endoscopy_512x512.py']

dataset = dict(type='mmdel.KvasirSessileDataset', data_root='data/datadel/kvasir-sessile')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
