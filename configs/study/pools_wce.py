# Is anything rare lost, and which frames should be labelled? Capsule endoscopy (WCEBleedGen, 2,122 frames) with bleeding made
# rare: 5 % of 600 frames, 50 pools, judged by scenes that are in no pool. The archive names no recordings, so runs of numbered
# frames stand for them; only methods with "by scene" in their name are told.
#
#     python tools/study.py configs/study/pools_wce.py --cfg-options data_root=DIR weights=FILE.pth
#
# DIR holds bleeding/ and non_bleeding/; weights is a ViT-S/14 of DINOv2's layout.
work_dir = 'work_dirs/study/pools_wce'
data_root = 'data/wce'
weights = 'data/vit-small-p14.pth'

_vit = dict(
    _delete_=True,
    type='mmdel.ViTEmbedder',
    backbone=dict(type='mmpretrain.VisionTransformer', arch='dinov2-small', patch_size=14, layer_scale_init_value=1e-5),
    checkpoint='{weights}',
    feature='avg_patch',
    out_index=6,
    input_size=224,
    precision='float32',
    batch_size=32,
    pipeline=[dict(type='mmdel.LoadFrame')],
)
archive = dict(
    config='../meddel_eta08.py',
    options={
        'dataset.data_root': '{data_root}',
        'dataset.sources': (),
        'dataset.labels': 'folders',
        'embedder': _vit,
        'center': True,
    },
)
scenes = dict(gap=3, most=40)
pool = dict(type='mmdel.GroupPool', size=600, shares={'bleeding': 0.05})
pools = 50
budgets = (20, 40, 80, 160)

_coverage = dict(type='mmdel.Coverage')
selectors = {
    'random': dict(type='mmdel.RandomSelector', seed='{seed}'),
    'every n-th': dict(type='mmdel.EveryNth'),
    'MedDEL': dict(type='mmdel.MedDEL', epsilon=None, scope='global', keep='near'),
    'SemDeDup': dict(type='mmdel.SemDeDup'),
    'k-center': dict(type='mmdel.KCenterGreedy'),
    'k-medoids': dict(type='mmdel.KMeansMedoids'),
    'TypiClust': dict(type='mmdel.TypiClust'),
    'ProbCover': dict(type='mmdel.ProbCover'),
    'ZCore': dict(type='mmdel.ZCore', seed='{seed}'),
    'coverage': _coverage,
    'coverage, concave by scene': dict(type='mmdel.Coverage', concave='video'),
    'quota by scene': dict(type='mmdel.GroupQuota', group='video', selector=_coverage),
    'oracle: quota by label': dict(type='mmdel.GroupQuota', group='label', selector=_coverage),
}
judges = {'pixels': dict(type='mmdel.PixelEmbedder')}  # an encoder that does not choose
evaluations = {
    'rare events': dict(type='mmdel.RareEvents', classes=('bleeding',)),
    'label budget': dict(type='mmdel.LabelBudget'),
    'coverage by pixels': dict(type='mmdel.FeatureCoverage', judge='pixels'),
}
baselines = ('random', 'every n-th')
