"""What a head has to beat: linear probes and the models of the earlier prototypes. They know nothing of calibration."""

from facedep_jax.baselines.linear_probe import PENALTIES, Probe, fit_probe, flat_features
from facedep_jax.baselines.two_backbone_hybrid import hybrid_logits, pooled_tops

__all__ = ["PENALTIES", "Probe", "fit_probe", "flat_features", "hybrid_logits", "pooled_tops"]
