"""Pure transforms of pixels and latents."""
