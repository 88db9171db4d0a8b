"""Measurements of speed and memory, side by side with PyTorch: ``python -m bench``."""
