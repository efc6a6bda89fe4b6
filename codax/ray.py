"""Pictures on a cluster of Ray: see `codax.extras.columns` and `codax.extras.ray`."""

from codax.extras.columns import Decode, Encode
from codax.extras.ray import evaluate

__all__ = ["Decode", "Encode", "evaluate"]
