"""Reasonry: better answers for less compute."""
