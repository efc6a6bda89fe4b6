"""The room `cli` of codax."""
