"""Opens a torch checkpoint without running code that it names.

    content = read_checkpoint('epoch_10.pth')      # {'state_dict': {...}, 'meta': ..., 'message_hub': ...}

A checkpoint is a pickle, and unpickling calls whatever the file names. Here it may name tensors and what they are rebuilt
with, and the objects that mmengine's runner writes beside them (its log), for which inert stand-ins are made. Everything else
is refused before it is looked up, in every format that ``torch.save`` ever wrote.

``torch.load(weights_only=True)`` is no substitute: up to torch 2.3 it refuses the log of mmengine, and up to 2.5 a file in the
old tar format can make it run code (CVE-2025-32434). Libraries that open the file later unpickle it in full, so what is admitted
here must be harmless for them, too: stand-ins cannot be called, and ``getattr`` reaches nothing but the statistics of a log.
"""

import collections
import os
import pickle
import zipfile
from collections.abc import Callable
from types import SimpleNamespace
from typing import IO, Any

import torch

_REBUILDERS = (
    '_rebuild_tensor',
    '_rebuild_tensor_v2',
    '_rebuild_tensor_v3',
    '_rebuild_parameter',
    '_rebuild_parameter_with_state',
    '_rebuild_sparse_tensor',
    '_rebuild_qtensor',
    '_rebuild_meta_tensor_no_storage',
)
"""Of ``torch._utils``; not every version has them all."""

_PLAIN: dict[str, Any] = {
    'collections.OrderedDict': collections.OrderedDict,
    'collections.Counter': collections.Counter,
    'collections.defaultdict': collections.defaultdict,
    'builtins.set': set,
    'builtins.frozenset': frozenset,
    'builtins.bytearray': bytearray,
    'builtins.complex': complex,
    'builtins.slice': slice,
    'builtins.int': int,
    'builtins.float': float,
    'builtins.list': list,
    'builtins.dict': dict,
    'torch.Size': torch.Size,
    'torch.device': torch.device,
}
"""Types whose making and filling runs no code of the file's choice."""

_LOG = 'mmengine.logging.history_buffer.HistoryBuffer'

_INERT_TYPES = (
    _LOG,
    'numpy.dtype',
    'numpy.ndarray',
    *(f'numpy.dtypes.{kind}DType' for kind in ('Int32', 'Int64', 'UInt32', 'Float32', 'Float64', 'Bool')),
)
_INERT_FUNCTIONS = (
    '_codecs.encode',
    *(f'numpy.{core}.multiarray.{name}' for core in ('core', '_core') for name in ('_reconstruct', 'scalar')),
    *(f'numpy.{core}.numeric._frombuffer' for core in ('core', '_core')),
)
"""What mmengine's runner writes beside the weights, and nobody needs here."""


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """What a checkpoint holds, on the CPU; NumPy values and mmengine's log are empty stand-ins.

    Args:
        path (str): A file that ``torch.save`` wrote: a zip archive, or one of the two older formats.

    Raises:
        pickle.UnpicklingError: It names anything but weights and mmengine's log. Nothing of it was run.
        Exception: It is damaged, or no checkpoint at all; whatever torch makes of its bytes.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            # torch.load would hand it to torch.jit.load, which compiles the code in it
            if any(os.path.basename(name) == 'constants.pkl' for name in archive.namelist()):
                raise pickle.UnpicklingError('it is a TorchScript archive, which holds code')
    return torch.load(path, map_location='cpu', pickle_module=_PICKLE, weights_only=False)


class _Inert:
    """Stands in for an object that is not needed: takes whatever it is given and does nothing with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Function:
    """A function that a pickle may call and cannot change: pickles can set attributes of what they have looked up.

    Args:
        function (Callable): The function.
    """

    __slots__ = ('_function',)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, '_function', function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f'it sets {name} of a function')

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('it sets the state of a function')


def _stand_in(*_: Any) -> _Inert:
    return _Inert()


def _statistic(owner: Any, name: Any) -> _Inert:
    """In place of ``getattr``, by which protocol 2 names the methods that a log registers as its statistics."""
    if owner is not _ALLOWED[_LOG] or not isinstance(name, str) or name.startswith('_') or not name.isidentifier():
        raise pickle.UnpicklingError(f'it asks for the attribute {name!r} of {owner!r}')
    return _Inert()


_ALLOWED: dict[str, Any] = {
    **_PLAIN,
    **{
        f'torch._utils.{name}': _Function(getattr(torch._utils, name))
        for name in _REBUILDERS
        if hasattr(torch._utils, name)
    },
    **{str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype | torch.layout)},
    **{name: type('Inert', (_Inert,), {}) for name in _INERT_TYPES},
    **{name: _Function(_stand_in) for name in _INERT_FUNCTIONS},
    'torch.serialization._get_layout': _Function(torch.serialization._get_layout),
    'builtins.getattr': _Function(_statistic),
}


_STORAGES = {
    f'{kind}Storage': dtype
    for kind, dtype in (
        ('Double', torch.float64),
        ('Float', torch.float32),
        ('Half', torch.float16),
        ('Long', torch.int64),
        ('Int', torch.int32),
        ('Short', torch.int16),
        ('Char', torch.int8),
        ('Byte', torch.uint8),
    )
}
"""The kinds of storages in the oldest format, of which torch reads the number type. It takes those of later formats itself."""


class _Unpickler(pickle.Unpickler):
    """Looks up nothing but what is allowed; torch adds its storages."""

    def find_class(self, module: str, name: str) -> Any:
        # protocol 2 writes the names of Python 2
        full = f'{"builtins" if module == "__builtin__" else module}.{name}'
        if full.startswith(f'{_LOG}.') and not name.rpartition('.')[2].startswith('_'):
            return _Inert()  # later protocols name the methods of a log like this
        if module == 'torch' and name in _STORAGES:
            return SimpleNamespace(_dtype=_STORAGES[name])
        if full not in _ALLOWED:
            raise pickle.UnpicklingError(f'it names {full}')
        return _ALLOWED[full]


def _load(file: IO[bytes], **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_PICKLE: Any = SimpleNamespace(
    __name__='mmdel.compute.checkpoint_file',
    Unpickler=_Unpickler,
    load=_load,
    UnpicklingError=pickle.UnpicklingError,
    PickleError=pickle.PickleError,
)
"""What torch calls instead of the module ``pickle``."""
