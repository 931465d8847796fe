"""Opens, checks and places what the converters have recognised, and looks at the result again."""

from mmdel.datadel.assembly.assembly import Recognised, Report, assemble, manifest_of, recognise
from mmdel.datadel.assembly.verification import verify

__all__ = ['Recognised', 'Report', 'assemble', 'manifest_of', 'recognise', 'verify']
