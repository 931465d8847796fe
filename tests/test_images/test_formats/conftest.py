import pytest

KINDS = {
    'h264-mp4': ('clip.mp4', dict(b_frames=2)),
    'h264-open-gop-vfr-mkv': (
        'clip.mkv',
        dict(b_frames=3, options={'x264-params': 'open-gop=1:scenecut=0'}, times='uneven'),
    ),
    'h264-one-key-frame': ('clip.mp4', dict(keys_every=1000, options={'x264-params': 'scenecut=0'})),
    'h264-avi-without-times': ('clip.avi', dict(b_frames=2)),
    'mpeg4-avi': ('clip.avi', dict(codec='mpeg4')),
    'mpeg4-b-frames-avi': ('clip.avi', dict(codec='mpeg4', b_frames=2)),
    'mjpeg-avi': ('clip.avi', dict(codec='mjpeg')),
    'mpeg1-mpg': ('clip.mpg', dict(codec='mpeg1video')),
    'mpeg2-mpg-with-odd-times': ('clip.mpg', dict(codec='mpeg2video', b_frames=2)),
    'wmv': ('clip.wmv', dict(codec='wmv2')),
}
"""What archives of endoscopy are made of, and one trap each."""


@pytest.fixture(scope='session', params=KINDS)
def video(request, tmp_path_factory, render_video):
    """A video of 100 frames of each kind."""
    name, options = KINDS[request.param]
    if options.get('times') == 'uneven':
        options = {**options, 'times': [40 * i + 200 * (i // 7) for i in range(100)]}
    return str(render_video(tmp_path_factory.mktemp(request.param) / name, frames=100, **options))
