# A subset made elsewhere: --selector from-file --cfg-options selector.file=LIST.txt
selector = dict(type='mmdel.FromFile', file='FILE.txt')
