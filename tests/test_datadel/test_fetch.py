"""Downloads from a local server that knows ranges, breaks off, and changes its mind."""

import hashlib
import http.server
import threading

import pytest

from mmdel.datadel.catalog_entry import Link
from mmdel.datadel.fetch import download, size_of
from mmdel.errors import DatasetError

DATA = bytes(range(256)) * 4_000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.send_header('Content-Length', str(len(self.server.data)))
        self.end_headers()

    def do_GET(self):
        server, data = self.server, self.server.data
        asked = self.headers.get('Range')
        server.asked.append(asked)
        start = 0
        if asked and server.ranges and self.headers.get('If-Range', server.tag) == server.tag:
            start = int(asked.removeprefix('bytes=').rstrip('-'))
            if start >= len(data):
                self.send_response(416)
                self.end_headers()
                return
            self.send_response(206)
            self.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
        else:
            self.send_response(200)
        self.send_header('Content-Length', str(len(data) - start))
        self.send_header('ETag', server.tag)
        self.end_headers()
        self.wfile.write(data[start:][: server.stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.data, server.asked, server.ranges, server.stop, server.tag = DATA, [], True, None, '"one"'
        server.url = f'http://127.0.0.1:{server.server_address[1]}/x.zip'
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def link(server):
    return Link('x.zip', server.url, size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())


def test_download__whole_and_checked(link, server, tmp_path):
    came = []
    path = download(link, tmp_path, came.append)
    assert path.read_bytes() == DATA
    assert sum(came) == len(DATA)
    assert [left.name for left in tmp_path.iterdir()] == ['x.zip']
    download(link, tmp_path)
    assert server.asked == [None]


def test_broken_off__goes_on_where_it_stopped(link, server, tmp_path):
    server.stop = 300_000
    with pytest.raises(DatasetError, match='goes on where it stopped'):
        download(link, tmp_path)
    assert not (tmp_path / 'x.zip').exists()
    have = (tmp_path / 'x.zip.part').stat().st_size
    server.stop = None
    assert download(link, tmp_path).read_bytes() == DATA
    assert server.asked == [None, f'bytes={have}-']


def test_another_file_by_now__begins_anew(link, server, tmp_path):
    server.data, server.stop = DATA[::-1], 1_000
    with pytest.raises(DatasetError, match='goes on where it stopped'):
        download(link, tmp_path)
    server.data, server.stop, server.tag = DATA, None, '"two"'
    assert download(link, tmp_path).read_bytes() == DATA


def test_server_without_ranges__begins_anew(link, server, tmp_path):
    (tmp_path / 'x.zip.part').write_bytes(DATA[:1000])
    server.ranges = False
    assert download(link, tmp_path).read_bytes() == DATA


@pytest.mark.parametrize('rubbish', [DATA, DATA + b'more'])
def test_part_already_whole_or_too_long__ends_right(rubbish, link, tmp_path):
    (tmp_path / 'x.zip.part').write_bytes(rubbish)
    assert download(link, tmp_path).read_bytes() == DATA


def test_wrong_bytes__are_never_called_the_archive(link, server, tmp_path):
    server.data = bytes(len(DATA))
    with pytest.raises(DatasetError, match='sha256'):
        download(link, tmp_path)
    assert not (tmp_path / 'x.zip').exists()
    server.data = DATA + b'!'
    (tmp_path / 'x.zip.part').unlink()
    with pytest.raises(DatasetError, match='the catalogue says'):
        download(link, tmp_path)


def test_file_of_that_name__is_checked_and_not_touched(link, tmp_path):
    (tmp_path / 'x.zip').write_bytes(b'mine')
    with pytest.raises(DatasetError, match='4 bytes instead of'):
        download(link, tmp_path)
    assert (tmp_path / 'x.zip').read_bytes() == b'mine'


def test_size__from_the_server_where_the_catalogue_has_none(server, tmp_path):
    bare = Link('x.zip', server.url)
    assert size_of(bare) == len(DATA)
    assert download(bare, tmp_path).read_bytes() == DATA


def test_unreachable__is_said(tmp_path):
    with pytest.raises(DatasetError, match='cannot be reached'):
        download(Link('x.zip', 'http://127.0.0.1:9/x.zip'), tmp_path)
    with pytest.raises(DatasetError, match='no web address'):
        download(Link('x.zip', 'file:///etc/passwd'), tmp_path)
