"""Where text comes from: one readable decoder and its engine, OpenAI-compatible endpoints, the shipped pocket models."""

from reasonry.lm.load import load_lm

__all__ = ["load_lm"]
