"""Which token of one vocabulary is which of another: two models write one text, each in its own ids.

Invariant: a token is matched by how its vocabulary spells it, never by its number; what has no like is said to have none, and what must be
written nevertheless (a student's own mark in the teacher's context) becomes the tokens that spell it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reasonry.core import Ids, UserError
from reasonry.lm.tokenizer import Tokenizer

NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class Match:
    """A teacher's tokens beside a student's. Made by `match`; `SAME` where the vocabulary is one."""

    student_of: Mapping[int, int] | None = None
    """Teacher id → student id, for tokens that both have; `None`: every id is the other's."""
    teacher_of: Mapping[int, Ids] = field(default_factory=dict)
    """Student id → the teacher ids that stand for it; unread where ids are shared."""

    @property
    def longest(self) -> int:
        """The most teacher ids that stand for one student id."""
        return max(map(len, self.teacher_of.values()), default=1)

    def to_student(self, id: int) -> int | None:
        """The student's id of a teacher's token; `None` where the student has no such token."""
        return id if self.student_of is None else self.student_of.get(id)

    def to_teacher(self, id: int) -> Ids:
        """The teacher's ids for a student's token. Raises UserError for one that cannot be spelt."""
        if self.student_of is None:
            return (id,)
        if id not in self.teacher_of:
            raise UserError(f"vocabularies: the teacher cannot spell the student's token {id}; say what stands for it with special")
        return self.teacher_of[id]

    def context(self, ids: Ids) -> Ids:
        """A student's context as the teacher reads it."""
        return tuple(t for id in ids for t in self.to_teacher(id))


SAME = Match()


def match(teacher: Tokenizer, student: Tokenizer, special: Mapping[str, str] = NONE) -> Match:
    """Matches two tokenizers by their tokens' spellings.

    `special`: a student's token -> the text that stands for it in the teacher's context. An end token of the teacher that is none of the
    student's stands for the student's own end. Raises UserError for a `special` that the student does not have, or an empty text.
    """
    theirs, ours = teacher.backend.get_vocab(True), student.backend.get_vocab(True)
    for token, text in special.items():
        if token not in ours or not text:
            raise UserError(f"special: {token!r} stands for {text!r} but must be a token of {student.where} and stand for some text")
    if theirs == ours and set(teacher.eos_ids) == set(student.eos_ids) and not special:
        return SAME
    student_of = {id: ours[token] for token, id in theirs.items() if token in ours and token not in special}
    student_of |= {end: min(student.eos_ids) for end in teacher.eos_ids if student_of.get(end) not in student.eos_ids}
    teacher_of: dict[int, Ids] = {}
    for token, id in ours.items():
        if token in special:
            teacher_of[id] = teacher.encode(special[token])
        elif token in theirs:
            teacher_of[id] = (theirs[token],)
        elif spelt := _spelt(token, student.decode([id], skip_special=False), teacher, theirs):
            teacher_of[id] = spelt
    return Match(student_of, teacher_of)


def _spelt(token: str, text: str, teacher: Tokenizer, theirs: Mapping[str, int]) -> Ids:
    """The ids of a token's text; of its single letters where it is part of a character; nothing where neither is known."""
    if text and "\ufffd" not in text:
        return teacher.encode(text)
    return tuple(theirs[c] for c in token) if all(c in theirs for c in token) else ()
