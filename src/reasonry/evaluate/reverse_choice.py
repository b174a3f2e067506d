"""`reverse-speculative?teacher=FOLDER` as a choice: the model answers with a teacher at its side, whose tokens it approves one by one.

Options: `teacher`, a checkpoint folder or a shipped model; `p_th`; `way`, `ahead` (the paper's rule, drafts judged in one pass) or
`authors` (five proposals from the twenty likeliest tokens, token by token); `ahead`, tokens of a draft; and the sampling options of every
solver, which both models take.
"""

from __future__ import annotations

from dataclasses import replace

from reasonry.core import LM, Solver, UserError
from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.solve.build import Options
from reasonry.synth.reverse_solver import ReverseSpeculative
from reasonry.synth.reverse_speculative import AUTHORS, Rule, by_lookahead, by_pool, pair


def reverse_speculative(lm: LM, o: Options, name: str) -> Solver:
    """The solver of a spec's options, which it closes. The teacher is loaded once in `o.opened`. Raises UserError for models far away."""
    teacher = o.read("teacher", "", str)
    rule, extend = o.choice("way", "ahead", {"ahead": (Rule(), by_lookahead), "authors": (AUTHORS, by_pool)})
    sampling = replace(
        rule.teacher,
        temperature=o.read("temperature", rule.teacher.temperature, float),
        top_p=o.read("top_p", rule.teacher.top_p, float),
        top_k=o.read("top_k", rule.teacher.top_k, int),
        min_p=o.read("min_p", rule.teacher.min_p, float),
    )
    rule = replace(
        rule,
        p_th=o.read("p_th", rule.p_th, float),
        ahead=o.read("ahead", rule.ahead, int),
        max_tokens=o.read("max_tokens", 1024, int),
        teacher=sampling,
        student=sampling,
    )
    o.close()
    if not teacher:
        raise UserError("reverse-speculative: teacher is not given; name its checkpoint folder: reverse-speculative?teacher=FOLDER")
    if not isinstance(lm, LocalLM):
        raise UserError(
            f"reverse-speculative: {lm.name} is an endpoint, which cannot be gone along with token by token; name a local model"
        )
    writer = o.opened.once(("lm", teacher), lambda: load_lm(teacher))
    if not isinstance(writer, LocalLM):
        raise UserError(
            "reverse-speculative: teacher is an endpoint, which cannot be gone along with token by token; name a checkpoint folder"
        )
    return ReverseSpeculative(pair(writer, lm), rule, extend, name)
