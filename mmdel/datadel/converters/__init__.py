"""From what people download to the canonical layout: one file for each dataset whose native form needs more than renaming."""

from mmdel.datadel.converters.assembly import CONVERTERS, Recognised, Report, assemble, manifest_of, recognise
from mmdel.datadel.converters.raw import Raw
from mmdel.datadel.converters.verification import verify

__all__ = ['CONVERTERS', 'Raw', 'Recognised', 'Report', 'assemble', 'manifest_of', 'recognise', 'verify']
