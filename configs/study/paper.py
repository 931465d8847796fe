# The paper's benchmark: MAE with a ViT-Base/16 on DataDEL, six ratios, eight downstream sets, the checkpoints of Table 4 and the
# random baseline of Figure 6. Days of a GPU for each pre-training: look at the plan first.
#
#     python tools/study.py configs/study/paper.py --dry-run
#     python tools/study.py configs/study/paper.py --submit slurm
work_dir = 'work_dirs/study/paper'
data_root = 'data/datadel'
images = 88_282  # Table 2; the plan's costs only
resume = True  # a pre-training of days goes on after a stop

selection = dict(config='../meddel_eta08.py', options={'dataset.data_root': '{data_root}'})
_table_4 = ((0.2, (0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9)), (0.33, (0.4, 0.6, 0.7, 0.8, 0.9)))
_figure_6 = ('Kvasir-SEG', 'ImageCLEFmed', 'CVC-ClinicDB', 'CVC-ColonDB')
selectors = {
    'MedDEL': dict(
        selector=dict(
            type='mmdel.MedDEL', clusterer=dict(type='mmdel.FaissKMeans', num_clusters='auto', num_iters=20, seed=0)
        ),
        checkpoints=_table_4,
    ),
    'random': dict(
        selector=dict(type='mmdel.RandomSelector', seed='{seed}'), ratios=(0.05, 0.2, 0.5), downstream=_figure_6
    ),
}
ratios = (0.05, 0.1, 0.2, 0.33, 0.5)  # the sixth is 1, the reference 'all images'
seeds = (0,)  # the paper gives one number each; more seeds are more honest
baselines = ('random',)

pretraining = dict(
    config='../mae/mae_vit-base-p16_1xb16-coslr-200e_datadel-eta10.py',
    full_epochs=200,
    options={'train_dataloader.dataset.data_root': '{data_root}'},
)

_configs = {
    'Kvasir-Instrument': 'kvasir-instrument',
    'Kvasir-SEG': 'kvasir-seg',
    'ImageCLEFmed': 'imageclefmed',
    'ETIS': 'etis',
    'PolypGen2021': 'polypgen',
    'CVC-300': 'cvc-300',
    'CVC-ClinicDB': 'cvc-clinicdb',
    'CVC-ColonDB': 'cvc-colondb',
}
downstream = {}
for _name, _folder in _configs.items():
    downstream[_name] = dict(
        config=f'../segmentation/vit-base-p16_mae-pre_mlp_1xb16-20k_{_folder}-512x512.py',
        options={
            f'{_loader}_dataloader.dataset.data_root': '{data_root}/' + _folder for _loader in ('train', 'val', 'test')
        },
    )

# the checkpoint is that of ../_base_/segmentation/in1k-pre.py
references = {
    'all images': dict(kind='full'),
    'ImageNet': dict(
        kind='checkpoint',
        checkpoint='https://mmassets.onedl.ai/mmclassification/v0/vit/vit-base-p16_pt-32xb128-mae_in1k_20220623-4c544545.pth',
    ),
}
