"""The room `train` of codax."""
