"""Modelyard: MLOps orchestration whose decisions can be trusted."""

__version__ = "0.1.0"
