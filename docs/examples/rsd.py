"""A teacher writes and a student approves: traces, what each token was worth to it, and the case where nothing is left of the teacher."""

import asyncio
from dataclasses import replace

from reasonry.lm.load import load_lm
from reasonry.lm.local import LocalLM
from reasonry.synth.reverse_speculative import Rule, pair, write
from reasonry.synth.trace_set import Choice, approved, attempts, card, choose
from reasonry.tasks import load_task


async def main() -> None:
    """The shipped pair: the larger model teaches, the smaller one is to learn."""
    # --8<-- [start:write]
    teacher, student = load_lm("pocket"), load_lm("pocket-1m")
    assert isinstance(teacher, LocalLM)
    assert isinstance(student, LocalLM)
    task = load_task("arithmetic?steps=3")
    problems = task.problems("train", 6)
    async with teacher, student:
        both, rule = pair(teacher, student), Rule(p_th=0.01, max_tokens=96)
        trace = await write(both, problems[0].messages, rule, seed=0)
        for token in trace.tokens[:12]:
            by = "teacher" if token.teachers else "student"
            print(f"{await student.decode((token.id,))!r:8} {by}  log P_T {token.log_teacher:6.2f}  log P_S {token.log_student:6.2f}")
        made = await attempts(approved(both, rule), student, task, problems, trials=3, seed=0)
        rows = choose(made, Choice(trials=3, prefix=16))
        told = card(made, rows, Choice(trials=3, prefix=16))
        print(f"{told['right']} of {told['attempts']} attempts right, {told['whole']} whole traces, {told['prefixes']} beginnings")
        # --8<-- [end:write]
        alone = await attempts(approved(both, replace(rule, p_th=1.1)), student, task, problems, trials=3, seed=0)
        print(f"the student alone: {sum(a.right for a in alone)} of {len(alone)} right")
        for p_th in (0.01, 0.5, 0.99):
            made = await attempts(approved(both, replace(rule, p_th=p_th)), student, task, problems, trials=1, seed=0)
            rate = sum(a.fallback_rate for a in made) / len(made)
            print(f"p_th {p_th}: {100 * rate:.0f} % of the tokens are the student's own, {sum(a.right for a in made)} of {len(made)} right")


asyncio.run(main())
