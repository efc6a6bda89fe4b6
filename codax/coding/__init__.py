"""From samples to range-coder streams and back: the order, and what walks it."""
