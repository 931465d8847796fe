# Ultrasound loops (92 recordings of 56 patients, every 6th frame): is any patient lost, and which frames should be labelled? Four
# classes; the probe is tested on patients that are in no pool.
#
#     python tools/study.py configs/study/pools_loops.py --cfg-options data_root=DIR weights=FILE.pth
#
# DIR is covid19_ultrasound's videos with videos.csv (file, label, patient) beside them.
_base_ = ['pools_wce.py']

work_dir = 'work_dirs/study/pools_loops'
data_root = 'data/pocus'

archive = dict(
    options={
        'dataset.data_root': '{data_root}/videos',
        'dataset.labels': None,
        'dataset.table': '{data_root}/videos.csv',
        'dataset.videos': 6,
    }
)
scenes = None
pool = dict(_delete_=True, type='mmdel.GroupPool', group='patient', test=0.35)
budgets = (12, 24, 48, 96)

selectors = {
    **{name.replace('by scene', 'by video'): selector for name, selector in _base_.selectors.items()},
    'quota by patient': dict(type='mmdel.GroupQuota', group='patient', selector=dict(type='mmdel.Coverage')),
    'coverage, concave by patient': dict(type='mmdel.Coverage', concave='patient'),
    '_delete_': True,
}
evaluations = {
    '_delete_': True,
    'patients': dict(type='mmdel.RareEvents', group='patient'),
    'label budget': dict(type='mmdel.LabelBudget', group='patient'),
    'coverage by pixels': dict(type='mmdel.FeatureCoverage', group='patient', judge='pixels'),
}
