"""Measuring: metrics, BD-rate, sweeps over files, plots and the report page."""

from codax.evaluation.bits import BitsMap, bits_map

__all__ = ["BitsMap", "bits_map"]
