"""From a model to a cheaper one behind the same interface."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "shipped"
"""Recipes of cheaper forms for `reasonry train`, by name."""
