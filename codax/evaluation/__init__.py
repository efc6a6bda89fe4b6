"""Measuring: metrics, BD-rate, sweeps over files, plots and the report page."""
