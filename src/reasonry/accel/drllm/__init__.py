"""Dr.LLM (arXiv 2510.12773): before each block a small router decides by the prompt whether it is skipped, run, or run twice. The model's
weights stay as they are; the routers are taught by programs that a search found (`solve.layer_search`).

Read `routers` (what decides), `engine` (the routed model as an `LM`), `learn` (how they are taught), `execute` (many programs at once),
`adapter` (saved and loaded).
"""

from reasonry.accel.drllm.adapter import fresh_routers, load_routers, save_routers
from reasonry.accel.drllm.engine import route
from reasonry.accel.drllm.routers import Routers

__all__ = ["Routers", "fresh_routers", "load_routers", "route", "save_routers"]
