"""Fits the network of a model folder, calibrates it and writes it down in the platform's artifact contract."""
