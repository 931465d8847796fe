"""Are frames embedded from a video as fast as from JPEG files, and does memory depend on the length of the video?

    python benchmarks/video.py --images data/wce

Makes videos of real frames in four codecs, and of the frames that come out of each a folder of JPEG files (quality 95), then
embeds both by turns with empty caches: with thumbnails, where decoding decides, and with a ViT. The ratio is the rate from the
video over the rate from the files. Peak memory (of the process and of its largest worker) is measured in processes of their own,
for the same film once and several times over.
"""

import argparse
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import torch
from mmengine.logging import MMLogger

import mmdel
from mmdel.datasets import DataDEL
from mmdel.embedding import BaseEmbedder, PixelEmbedder, ViTEmbedder, embed_images
from mmdel.images import formats, frame_files
from mmdel.images.frames import read_frame
from mmdel.images.image_table import image_table

CODECS = {
    'H.264, MP4, key every 12': ('clip.mp4', 'libx264', 12, {'crf': '18', 'preset': 'fast'}),
    'H.264, MP4, key every 250': ('clip.mp4', 'libx264', 250, {'crf': '18', 'preset': 'fast'}),
    'MPEG-4, AVI, key every 12': ('clip.avi', 'mpeg4', 12, {'qmin': '2', 'qmax': '4'}),
    'MJPEG, AVI': ('clip.avi', 'mjpeg', 1, {'qmin': '2', 'qmax': '3'}),
}
VIT = dict(type='mmpretrain.VisionTransformer', arch='dinov2-small', patch_size=14, layer_scale_init_value=1e-5)


def make_video(
    path: Path, files: list[Path], codec: str, keys_every: int, options: dict[str, str], times: int = 1
) -> None:
    """All files in turn, so many times over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = cv2.imread(str(files[0])).shape[:2]
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
        stream.gop_size = keys_every
        for number, file in enumerate(files * times):
            frame = av.VideoFrame.from_ndarray(cv2.imread(str(file)), 'bgr24')
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def rate(folder: Path, embedder: BaseEmbedder) -> float:
    """Images per second from the files of a folder, or the frames of its videos, to vectors on disk."""
    table = image_table(DataDEL(str(folder), videos='all'))
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        embed_images(table, embedder, cache, device='cpu')
        return len(table.table) / (time.perf_counter() - start)


def peak_memory(folder: Path) -> tuple[float, float]:
    """MiB of the process and of its largest child while a folder is embedded."""
    child = subprocess.run(
        [sys.executable, __file__, '--images', str(folder), '--only-embed'], check=True, capture_output=True, text=True
    )
    own, workers = child.stdout.split()[-2:]
    return float(own), float(workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=Path, required=True, help='a folder with JPEG frames of one size')
    parser.add_argument('--count', type=int, default=600, help='frames of a video')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--vit', type=int, default=96, help='frames that the ViT gets; 0 leaves it out')
    parser.add_argument('--only-embed', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    MMLogger.get_current_instance().setLevel(logging.ERROR)
    if args.only_embed:
        rate(args.images, PixelEmbedder())
        print(*(resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
        return
    cpu = torch.cpu.get_capabilities().get('cpu_name', platform.processor())
    print(f'mmdel {mmdel.__version__}, torch {torch.__version__}, PyAV {av.__version__}, OpenCV {cv2.__version__}')
    print(f'{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}')
    files = sorted(args.images.rglob('*.jpg'))[: args.count]
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        frame_files.INDEX_DIR = str(work / 'indices')
        jobs = [('pixels', PixelEmbedder(), len(files))] + (
            [('ViT-S/14', ViTEmbedder(VIT), args.vit)] if args.vit else []
        )
        for number, (name, (file, codec, keys_every, options)) in enumerate(CODECS.items()):
            for embedder_name, embedder, count in jobs[: 2 if number == 0 else 1]:
                film, stills = work / f'{number}{count}' / 'film', work / f'{number}{count}' / 'stills'
                make_video(film / file, files[:count], codec, keys_every, options)
                stills.mkdir()
                for frame in range(frame_files.read_index(str(film / file)).count):
                    image = read_frame(formats.frame_path(str(film / file), frame)).image
                    cv2.imwrite(str(stills / f'{frame:06d}.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
                rounds = [(rate(stills, embedder), rate(film, embedder)) for _ in range(args.rounds)]
                ratios = sorted(from_video / from_files for from_files, from_video in rounds)
                print(
                    f'{embedder_name}, {name}, {count} frames: files {statistics.median(r[0] for r in rounds):.1f}/s, '
                    f'video {statistics.median(r[1] for r in rounds):.1f}/s, ratio {statistics.median(ratios):.2f} '
                    f'({ratios[0]:.2f} to {ratios[-1]:.2f})',
                    flush=True,
                )
        for times in (1, 4, 16):
            make_video(work / f'long{times}' / 'clip.mp4', files[:300], 'libx264', 12, {'preset': 'ultrafast'}, times)
            own, workers = peak_memory(work / f'long{times}')
            print(
                f'{300 * times} frames in one video: peak {own:.0f} MiB, largest worker {workers:.0f} MiB', flush=True
            )


if __name__ == '__main__':
    main()
