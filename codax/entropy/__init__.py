"""The room `entropy` of codax."""
