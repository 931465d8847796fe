_base_ = ['endoscopy_512x512.py']

dataset = dict(type='mmdel.CVC300Dataset', data_root='data/datadel/cvc-300')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
