# Chance: what every method has to beat. seed=1 is another draw; stratify='source' keeps every source's share.
selector = dict(type='mmdel.RandomSelector')
