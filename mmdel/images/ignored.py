"""What in a folder is no picture of the pool, by its name: what systems leave behind, and what a person excludes.

is_rubbish('@eaDir')            # True
exclude = Exclusion(['old/', '*_overlay.png', '!keep_overlay.png'])
exclude.pattern('a/old/')       # 'old/'
exclude.pattern('a/1.jpg')      # None
exclude.unused                  # ('*_overlay.png', '!keep_overlay.png')
"""

import re
from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from mmdel.errors import ConfigError

_RUBBISH = re.compile(
    # macOS and Windows
    r'__macosx|network trash folder|temporary items|thevolumesettingsfolder|icon\r'
    r'|(?:eh)?thumbs(?:_vista)?\.db(?:[:.].*)?|desktop\.ini|\$recycle\.bin|recycler|system volume information|found\.\d{3}'
    # file systems and network drives
    r'|lost\+found|[@#~]snapshots?|[@#]recycle|@recently-snapshot|@eadir|@tmp|@sharebin|.*@syno(?:eastream|resource)'
    # viewers, editors, and programs that hold a file open
    r'|zbthumbnail\.info|picasa\.ini|pspbrwse\.jbf|~\$.+|.+\.\w+~',
    re.IGNORECASE,
)


def is_rubbish(name: str) -> bool:
    """Whether a file or folder is hidden or what systems leave behind, and so no part of any dataset."""
    return (name.startswith('.') and name not in ('.', '..')) or _RUBBISH.fullmatch(name) is not None


class Exclusion:
    """Patterns of what is left out, as in .gitignore.

    Args:
        patterns (Sequence[str]): The patterns; the last one that matches decides, and one that begins with '!' takes in again.

    Raises:
        ConfigError: One of them can match nothing.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        if isinstance(patterns, str):
            patterns = [patterns]
        self._patterns = tuple(patterns)
        for pattern in self._patterns:
            _check(pattern)
        self._spec = GitIgnoreSpec.from_lines(self._patterns)
        self._idle = list(range(len(self._patterns)))

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def pattern(self, path: str) -> str | None:
        """The pattern that leaves a path out, None where none does.

        Args:
            path (str): Relative to the folder of the images; that of a folder ends in a slash.
        """
        if self._idle:
            self._idle = [place for place in self._idle if not self._spec.patterns[place].match_file(path)]
        decision = self._spec.check_file(path)
        return self._patterns[decision.index] if decision.include and decision.index is not None else None

    @property
    def unused(self) -> tuple[str, ...]:
        """The patterns that have matched nothing."""
        return tuple(self._patterns[place] for place in self._idle)


def _check(pattern: str) -> None:
    try:
        [parsed] = GitIgnoreSpec.from_lines([pattern]).patterns
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f'exclude: {pattern!r} is no pattern as in .gitignore.') from error
    if parsed.include is None:
        hint = f" A # begins a comment there; write '\\{pattern}'." if pattern.startswith('#') else ''
        raise ConfigError(f'exclude: {pattern!r} matches nothing, as in .gitignore.{hint}')
