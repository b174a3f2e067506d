"""Layers used by several networks: norm, rotary positions, attention, masks built from group ids."""
