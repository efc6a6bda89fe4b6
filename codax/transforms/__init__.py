"""The room `transforms` of codax."""
