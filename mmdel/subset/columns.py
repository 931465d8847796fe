"""The columns of ``subset.parquet``, declared here and nowhere else.

    SCHEMA.names              # all of them, in the order in which they are written
    names_of('dataset')       # those that names, folders and tables of the images tell

Reading and writing, the table of images, the cache of embeddings, guards, report, exports and ``docs/columns.md`` follow from
here. A new column is an entry of :data:`COLUMNS` and whoever fills it, by ``source``:

- 'dataset': an item with a key of its name, as a dataset gives it or ``--table`` says it;
- 'file': a field of its name in :class:`mmdel.embedding.reader.FileNote`;
- 'selector': a field of its name in :class:`mmdel.selection.selector.Ranking`;
- 'cut': :class:`mmdel.subset.Subset` itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mmdel.errors import ConfigError


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Args:
        name (str): Its name.
        type (pa.DataType): Of its values.
        meaning (str): What they say.
        source (str): Who fills it: 'dataset', 'file', 'selector' or 'cut'.
        since (str): The version of mmdel that wrote it first. Defaults to '0.1'.
        required (bool): Whether a file without it is no subset; another column that is missing is null. Defaults to False.
    """

    name: str
    type: pa.DataType
    meaning: str
    source: str
    since: str = '0.1'
    required: bool = False


COLUMNS = (
    Column('image', pa.string(), 'the key', 'dataset', required=True),
    Column('source', pa.string(), 'the dataset or folder that it comes from', 'dataset'),
    Column('label', pa.string(), 'the name of its class', 'dataset'),
    Column('patient', pa.string(), 'whose image it is', 'dataset', since='0.2'),
    Column('video', pa.string(), 'the recording that it is a frame of', 'dataset'),
    Column('frame', pa.int64(), 'its place in the recording', 'dataset'),
    Column('centre', pa.string(), 'the hospital', 'dataset'),
    Column('width', pa.int32(), 'in pixels', 'file'),
    Column('height', pa.int32(), 'in pixels', 'file'),
    Column('bytes', pa.int64(), 'size of the file', 'file'),
    Column('cluster', pa.int32(), 'the group in which it was compared', 'selector'),
    Column('distance', pa.float32(), 'to the centroid of its cluster', 'selector'),
    Column(
        'redundancy', pa.float32(), 'highest cosine to a preferred image in scope, NaN if there is none', 'selector'
    ),
    Column('removed_by', pa.string(), 'that image', 'selector'),
    Column(
        'rank',
        pa.int64(),
        'the order in which images are kept, null for those that take no part',
        'selector',
        required=True,
    ),
    Column('reason', pa.string(), 'why it stays or left', 'cut', required=True),
    Column('keep', pa.bool_(), 'whether it stays', 'cut', required=True),
)
"""The columns that this version knows, in the order in which they are written; unknown ones are kept behind them."""

GROUPS = {'label': 'classes', 'centre': 'centres', 'source': 'sources', 'patient': 'patients', 'video': 'videos'}
"""Columns that images can be grouped by, the most telling first, and what people call the groups."""


def names_of(*sources: str) -> tuple[str, ...]:
    """The columns that these sources fill."""
    return tuple(column.name for column in COLUMNS if column.source in sources)


SCHEMA = pa.schema([(column.name, column.type) for column in COLUMNS])

METADATA = names_of('dataset')[1:]
"""What a dataset tells of an image besides its key."""

NOTED = pa.schema([*map(SCHEMA.field, names_of('file')), ('sharpness', pa.float64())])
"""What is noted of each file when it is read. The sharpness is for selectors alone, and is not written."""

SEEN = pa.schema([*map(SCHEMA.field, names_of('dataset')), *NOTED])
"""What a selector sees of an image besides its vector."""


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema, from a table that may lack some; these are null."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.chunked_array([pa.nulls(len(table), field.type)])
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def typed_columns(columns: Mapping[str, Sequence[Any]], count: int) -> pa.Table:
    """Values that a program holds as a table; what is missing (None, NaN) is null.

    Args:
        columns (Mapping[str, Sequence]): By names of :data:`METADATA`.
        count (int): How many images there are.

    Raises:
        ConfigError: There is no such column, it has not one value for each image, or a value is of another type.
    """
    table = {}
    for name, values in columns.items():
        if name not in METADATA:
            raise ConfigError(f'columns has {name!r}, which is none of {", ".join(METADATA)}.')
        if not hasattr(values, '__len__') or isinstance(values, str) or len(values) != count:
            found = (
                repr(values) if isinstance(values, str) or not hasattr(values, '__len__') else f'{len(values):,} values'
            )
            raise ConfigError(f'columns[{name!r}] needs one value for each of {count:,} images, got {found}.')
        field = SCHEMA.field(name)
        kind = int if pa.types.is_integer(field.type) else str
        try:
            table[name] = pa.array([None if _is_missing(value) else kind(value) for value in values], field.type)
        except (TypeError, ValueError) as error:
            raise ConfigError(f'columns[{name!r}] holds what is no {field.type}: {error}.') from error
    return pa.table(table)


def _is_missing(value: Any) -> bool:
    """Also as pandas has it, whose NA is neither equal nor unequal to itself."""
    return (
        value is None or type(value).__name__ in ('NAType', 'NaTType') or (isinstance(value, float) and value != value)
    )


def markdown() -> str:
    """The page ``docs/columns.md``."""
    kinds = {'string': 'text', 'int64': 'whole number', 'int32': 'whole number', 'float': 'number', 'bool': 'yes or no'}
    lines = [
        _INTRODUCTION,
        '| column | type | meaning | filled by | since | always there | groups |',
        '|---|---|---|---|---|---|---|',
    ]
    for column in COLUMNS:
        kind = kinds.get(str(column.type), str(column.type))
        there = 'yes' if column.required else ''
        lines.append(
            f'| `{column.name}` | {kind} | {column.meaning} | {column.source} | {column.since} | {there} | '
            f'{GROUPS.get(column.name, "")} |'
        )
    return '\n'.join(lines) + '\n'


_INTRODUCTION = """\
# The columns of `subset.parquet`

After this page you know what each column of the table says and who fills it. There is one row for each image that was found,
whether it is kept, removed or unreadable. Any Parquet reader opens the file; `mmdel.subset.Subset.read` checks it, too.

*Filled by* says where the values come from. **dataset**: what names, folders and `--table FILE.csv` tell; that table may hold
any of these columns beside `key`. **file**: what was read from the image. **selector**: the ranking. **cut**: the decision at
this eta or ratio. A column that is not always there is null where nothing is known, and files of earlier versions may lack
it. Columns of later versions, or of your own, are kept and passed on. Guards (`guards.min_keep.label=5`), `selector.stratify`
and the report know the columns with *groups*.

This page is written by `python -c "from mmdel.subset import columns; print(columns.markdown(), end='')" > docs/columns.md`.
"""
