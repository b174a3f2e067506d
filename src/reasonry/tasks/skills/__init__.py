"""The pocket models' skills: one file each, all made of the parts in `skill`. `SKILLS` is the whole list."""

from collections.abc import Callable

from reasonry.tasks.skill import SPLITS, Draft, Skill, split_of
from reasonry.tasks.skills.arithmetic import arithmetic
from reasonry.tasks.skills.calc import calc
from reasonry.tasks.skills.judge import judge
from reasonry.tasks.skills.notes import notes
from reasonry.tasks.skills.recall import recall
from reasonry.tasks.skills.registers import registers
from reasonry.tasks.skills.revise import revise
from reasonry.tasks.skills.style import style
from reasonry.tasks.skills.word import word

SKILLS: dict[str, Callable[..., Skill]] = {
    "arithmetic": arithmetic,
    "registers": registers,
    "recall": recall,
    "word": word,
    "calc": calc,
    "notes": notes,
    "revise": revise,
    "judge": judge,
    "style": style,
}
"""Name → maker; the maker's arguments are the skill's options."""

__all__ = ["SKILLS", "SPLITS", "Draft", "Skill", "split_of"]
