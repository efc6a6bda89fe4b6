"""Files for training loops: of PyTorch, and of Hugging Face's `datasets`.

See `codax.extras.datasets` and `codax.extras.columns`; docs/at-scale.md has examples.
"""

from codax.extras.columns import Decode
from codax.extras.datasets import Pictures, Tokens

__all__ = ["Decode", "Pictures", "Tokens"]
