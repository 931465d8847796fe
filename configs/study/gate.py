# Before cpu.py: is pre-training on all images worth anything here, two standard deviations over seeds above a random encoder?
# Size and budget are to be tuned on this question alone, before any selector is compared:
#
#     python tools/study.py configs/study/gate.py --jobs 2 --cfg-options data_root=DIR pretraining.full_epochs=40
#
# The answer is the table "What pre-training is worth". What passes goes into cpu.py.
_base_ = ['cpu.py']

work_dir = 'work_dirs/study/gate'
selectors = dict(_delete_=True)
baselines = ()
downstream = {
    'Kvasir-SEG, frozen': _base_.downstream['Kvasir-SEG, frozen'],
    'Kvasir-SEG, fine-tuned': {**_base_.downstream['Kvasir-SEG, fine-tuned'], 'ratios': (1,)},
}
