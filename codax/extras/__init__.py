"""What joins other programs: clusters, arrays in chunks, loaders of training data."""
