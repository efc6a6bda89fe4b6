"""The page of the browser viewer of codax, with ONNX Runtime for it.

`codax viewer` writes it into a folder beside the models that it shall read.
"""

__version__ = "0.2.0.dev0"
