"""mmdel: which of my medical images are worth training on?

Images become vectors (:mod:`mmdel.embedding`), vectors become a decision (:mod:`mmdel.selection`), the decision is a
subset file (:mod:`mmdel.subset`), and the subset filters any OpenMMLab dataset (:mod:`mmdel.datasets`).
"""

__version__ = '0.1.0'
