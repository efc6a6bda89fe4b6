"""The room `train/configs` of codax."""
