"""Opens, checks and places what the converters have recognised, and looks at the result again."""

from mmdel.datadel.assembly.assembly import Report, assemble, manifest_of
from mmdel.datadel.assembly.verification import verify

__all__ = ['Report', 'assemble', 'manifest_of', 'verify']
