"""Grayscale releases changes to an LLM API step by step, judged at every step."""

__all__ = ["__version__"]

__version__ = "0.1.0"
