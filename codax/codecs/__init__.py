"""The room `codecs` of codax."""
