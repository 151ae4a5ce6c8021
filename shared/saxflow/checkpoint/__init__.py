"""Formats: where weights come from (Meta .pth, safetensors) and where they go (Pax, zarr)."""
