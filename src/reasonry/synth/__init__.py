"""Tasks made of other tasks, and traces to learn from. `chain` composes problems, `synth` does it for a whole task, `profile` says where
chains break; `reverse_speculative` writes what a student can follow, and `trace_set` chooses what is learnt of it."""

from reasonry.synth.adapters import Adapter, converted, identity, scaled, shifted
from reasonry.synth.atoms import Atom, from_program, from_text
from reasonry.synth.chain import PLAIN, TERSE, Chain, Wording, chain, join
from reasonry.synth.chained import LABEL_PRESERVING, RE_SOLVE, Chained, Form, chance_rate, synth
from reasonry.synth.profile import Profile, profile, read_steps

__all__ = [
    "LABEL_PRESERVING", "PLAIN", "RE_SOLVE", "TERSE", "Adapter", "Atom", "Chain", "Chained", "Form", "Profile", "Wording", "chain",
    "chance_rate", "converted", "from_program", "from_text", "identity", "join", "profile", "read_steps", "scaled", "shifted", "synth",
]  # fmt: skip
