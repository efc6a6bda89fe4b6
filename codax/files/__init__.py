"""The bytes of files: container, sections, pictures, planes, cutting. No JAX."""
