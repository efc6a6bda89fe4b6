"""Trained codecs at hand: cards and stored weights. No JAX."""
