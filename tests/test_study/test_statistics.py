import numpy as np
import pyarrow as pa
import pytest

from mmdel.study.results import PER_IMAGE_SCHEMA, SCHEMA, Results
from mmdel.study.statistics import paired_bootstrap, samples

CLASSES = ('background', 'polyp')


def make_results(areas, metric='mIoU', images=True):
    """Results of groups: name -> integer array [seeds, images, classes, 2]."""
    rows, table = [], []
    for group, values in areas.items():
        for seed, each in enumerate(values):
            total = each.sum(0)
            value = 100 * np.nanmean(total[:, 0] / total[:, 1])
            row = dict(cell=f'{group}{seed}', planned=True, status='done', group=group, kind='selector', seed=seed)
            row |= dict(ratio_asked=0.5, ratio=0.5, share=1.0, downstream='d', metric=metric, value=value)
            rows.append({field.name: None for field in SCHEMA} | row | dict(per_image='x' if images else None))
            for image, numbers in enumerate(each):
                for name, (both, either) in zip(CLASSES, numbers.tolist(), strict=True):
                    table.append((row['cell'], f'{image:03d}.jpg', name, both, either))
    columns = list(zip(*table, strict=True)) or [[]] * 5
    return Results(tuple(rows), pa.table(dict(zip(PER_IMAGE_SCHEMA.names, columns, strict=True)), PER_IMAGE_SCHEMA))


def draw(seeds, images, gain=0.0, seed=0):
    random = np.random.default_rng(seed)
    union = random.integers(50, 100, (seeds, images, 2))
    share = np.clip(random.normal(0.6, 0.1, union.shape) + gain, 0, 1)
    return np.stack([(union * share).astype(int), union], -1)


def compare(results, **options):
    one, other = samples(results.rows).values()
    return paired_bootstrap(results, one, other, **options)


def reference(first, second, draws, seed):
    """One draw after another."""
    random = np.random.default_rng(seed)
    seeds, images = first.shape[:2]
    picked = random.integers(seeds, size=(draws, seeds))
    counts = random.multinomial(images, np.full(images, 1 / images), size=draws)

    def miou(areas, times):
        sums = sum(int(count) * image for count, image in zip(times, areas, strict=True))
        return 100 * np.mean([both / either for both, either in sums])

    return [
        np.mean([miou(first[s], times) - miou(second[s], times) for s in chosen])
        for chosen, times in zip(picked, counts, strict=True)
    ]


def test_bootstrap__agrees_with_one_draw_after_another():
    areas = {'a': draw(3, 7, 0.05), 'b': draw(3, 7, seed=1)}
    found = compare(make_results(areas), draws=50, seed=5)
    drawn = reference(areas['a'], areas['b'], 50, 5)
    assert (found.low, found.high) == pytest.approx(np.percentile(drawn, (2.5, 97.5)))
    assert found.above == np.mean(np.array(drawn) > 0)
    values = [[row['value'] for row in make_results(areas).rows if row['group'] == name] for name in 'ab']
    assert found.mean == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
    assert (found.seeds, found.images) == (3, 7)


def test_bootstrap__of_the_same_against_itself_is_nothing():
    found = compare(make_results({'a': draw(3, 9), 'b': draw(3, 9)}))
    assert (found.mean, found.low, found.high, found.above) == (0, 0, 0, 0)


def test_bootstrap__pairing_sees_what_images_of_their_own_would_hide():
    """Images differ a great deal, and one method is a little better on each of them."""
    areas = draw(2, 60)
    better = areas.copy()
    better[..., 0] = np.minimum(areas[..., 0] + 1, areas[..., 1])
    found = compare(make_results({'better': better, 'plain': areas}))
    assert 0 < found.low < found.mean < found.high < 3
    assert found.above == 1


@pytest.mark.parametrize('why', ['no images', 'another metric', 'other images'])
def test_bootstrap__of_seeds_alone(why):
    areas = {'a': draw(4, 5, 0.1), 'b': draw(4, 6 if why == 'other images' else 5, seed=1)}
    results = make_results(areas, 'mDice' if why == 'another metric' else 'mIoU', images=why != 'no images')
    found = compare(results)
    assert found.images == 0 and found.seeds == 4
    values = [np.array([row['value'] for row in results.rows if row['group'] == name]) for name in 'ab']
    difference = values[0] - values[1]
    assert found.mean == pytest.approx(difference.mean())
    assert difference.min() <= found.low <= found.high <= difference.max()


def test_bootstrap__a_class_that_no_drawn_image_holds_is_skipped():
    areas = draw(1, 6)
    areas[:, :, 1] = 0
    areas[:, 0, 1] = (3, 9)  # polyp in one image only
    found = compare(make_results({'a': areas, 'b': areas}))
    assert np.isfinite([found.low, found.high]).all()


def test_sample__says_over_how_many_seeds():
    results = make_results({'a': draw(3, 4)})
    rows = [dict(row) for row in results.rows]
    rows[1].update(status='failed', value=None)
    (sample,) = samples(rows).values()
    assert str(sample).endswith('(2 of 3 seeds)')
    kept = [rows[0]['value'], rows[2]['value']]
    assert (sample.mean, sample.spread) == pytest.approx((np.mean(kept), np.std(kept, ddof=1)))
    for row in rows:
        row.update(status='failed', value=None)
    assert str(next(iter(samples(rows).values()))) == 'failed'
