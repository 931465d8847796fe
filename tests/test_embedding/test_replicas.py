"""Batches that go through the model side by side come out in order, and as if there had been one at a time."""

import itertools
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from mmdel.embedding import BaseEmbedder
from mmdel.embedding.reader import Batch, FileNote
from mmdel.embedding.replicas import MODELS, embed_batches


class Slow(nn.Module):
    """Notes on itself what it is given, takes its time, and only then gives what it has noted."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(3.0))

    def forward(self, images):
        self.noted = images.mean(dim=(2, 3))
        time.sleep(0.02 * (1 + int(images[0, 0, 0, 0]) % 3))
        return self.noted * self.weight


class SlowEmbedder(BaseEmbedder):
    def __init__(self, model=None):
        super().__init__(input_size=4, precision='float32', mean=(0, 0, 0), std=(1, 1, 1), batch_size=2)
        self._made = model or Slow()
        self._threads = set()

    def build_model(self):
        return self._made

    def embed(self, images):
        self._threads.add((threading.get_ident(), torch.get_num_threads()))
        return super().embed(images)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def batches(count=9):
    generator = np.random.default_rng(0)
    for i in range(count):
        images = torch.from_numpy(generator.integers(0, 256, (2, 4, 4, 3), np.uint8))
        bad = [i == 4, i in (2, 4)]
        yield Batch(images, [FileNote(1, 1, 'is broken' if each else None) for each in bad])


@pytest.mark.parametrize('cores', [1, 2, 3, 9])
def test_vectors__same_and_in_order_for_any_number_of_cores(cores, threads):
    threads(cores)
    embedder, alone = SlowEmbedder(), SlowEmbedder()
    found = list(embed_batches(embedder, batches()))
    for (batch, (readable, vectors)), expected in itertools.zip_longest(found, batches()):
        assert torch.equal(batch.images, expected.images)
        assert readable.tolist() == [i for i in range(2) if expected.notes[i].reason is None]
        if len(readable):
            np.testing.assert_array_equal(vectors, alone.embed(expected.images)[readable])
        else:
            assert vectors is None
    count = min(cores, MODELS)
    assert {own for _, own in embedder._threads} == {cores // count}
    assert len({thread for thread, _ in embedder._threads}) == count
    assert torch.get_num_threads() == cores


def test_model_with_hooks_or_that_cannot_be_copied__runs_alone(threads):
    threads(2)
    hooked, locked = Slow(), Slow()
    seen = []
    hooked.register_forward_hook(lambda module, given, out: seen.append(out))
    locked.lock = threading.Lock()
    for model in (hooked, locked):
        embedder = SlowEmbedder(model)
        assert len(list(embed_batches(embedder, batches()))) == 9
        assert embedder._threads == {(threading.get_ident(), 2)}
    assert len(seen) == 8


def test_replicas__share_weights(threads):
    embedder = SlowEmbedder()
    replicas = embedder.replicas(2)
    models = [each.ready_model() for each in (embedder, *replicas)]
    assert len(set(map(id, models))) == 3
    assert len({id(model.weight) for model in models}) == 1


def test_error__comes_where_the_batch_would(threads):
    threads(2)

    class Failing(Slow):
        def forward(self, images):
            if int(images[0, 0, 0, 0]) == first:
                raise ArithmeticError('in the model')
            return super().forward(images)

    # RGB is given to the model, BGR is stored
    first = int(list(batches())[3].images[0, 0, 0, 2])
    stream = embed_batches(SlowEmbedder(Failing()), batches())
    for _ in range(3):
        next(stream)
    with pytest.raises(ArithmeticError, match='in the model'):
        next(stream)
    assert torch.get_num_threads() == 2


def test_closed_early__leaves_no_thread(threads):
    threads(2)
    before = threading.active_count()
    stream = embed_batches(SlowEmbedder(), batches())
    next(stream)
    assert threading.active_count() > before
    stream.close()
    assert threading.active_count() == before
