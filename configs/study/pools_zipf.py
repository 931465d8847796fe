# What does pre-training on 2.4 % of a redundant archive lose? 5,000 frames of the ultrasound loops, which come again and again
# by Zipf's law: a small masked autoencoder, as many steps on what each method chose as on all 5,000, tested on recordings
# of other patients.
#
#     python tools/study.py configs/study/pools_zipf.py --cfg-options data_root=DIR weights=FILE.pth
#
# A pool takes ten minutes on two cores. DIR is as for pools_loops.py.
_base_ = ['pools_loops.py']

work_dir = 'work_dirs/study/pools_zipf'

pool = dict(_delete_=True, type='mmdel.ZipfPool', group='patient', test=0.35, size=5000, exponent=1.2)
pools = 10
budgets = (0.024,)

selectors = {
    **{name: _base_.selectors[name] for name in ('random', 'every n-th', 'MedDEL', 'SemDeDup', 'coverage')},
    'coverage, concave by video': dict(type='mmdel.Coverage', concave='video'),
    'quota by video, random within': dict(
        type='mmdel.GroupQuota', group='video', selector=dict(type='mmdel.RandomSelector', seed='{seed}')
    ),
    '_delete_': True,
}
judges = dict(_delete_=True, thumbnails=dict(type='mmdel.PixelEmbedder', size=64))
evaluations = {
    '_delete_': True,
    'pre-training': dict(type='mmdel.PretextLoss', group='patient', judge='thumbnails'),
    'videos': dict(type='mmdel.RareEvents', group='video'),
    'label budget': dict(type='mmdel.LabelBudget', group='patient'),
}
