"""From the modules that train to ONNX graphs, which run without JAX."""
