_base_ = ['vit-base-p16.py', 'datadel_1xb16.py', 'schedule.py', 'runtime.py']
