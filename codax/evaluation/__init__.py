"""The room `evaluation` of codax."""
