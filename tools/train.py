"""Train with any OpenMMLab config: pre-training (mmpretrain) and segmentation (mmseg) alike.

python tools/train.py configs/mae/mae_vit-base-p16_1xb16-coslr-1000e_datadel-eta08.py
python tools/train.py CONFIG --resume
python tools/train.py MAE_CONFIG --equal-compute
python tools/train.py SEGMENTATION_CONFIG --pretrained FILE.pth --retention work_dirs/meddel_eta08/subset.parquet
"""

from mmdel.cli.command import start
from mmdel.cli.train import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
