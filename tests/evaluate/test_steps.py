"""A drawn attempt shows what was answered after each step, and marks only what can be known without the solution."""

import pytest

from reasonry.core import Cost, Segment, Stop, Trajectory, UserError
from reasonry.evaluate.steps import broken, caption, shown, steps_of, steps_page, write_steps
from reasonry.tasks.sudoku import units

PUZZLE = "1.....\n.2....\n..3...\n...4..\n....5.\n.....6"
SOLVED = "123456\n456123\n231564\n564231\n312645\n645312"


def attempt(*grids: str) -> Trajectory:
    trace = Trajectory("p", meta={"puzzle": PUZZLE})
    for grid in grids:
        trace = trace.add(Segment(None, None, grid, None, Stop.EOS, Cost(calls=1, flops=5.0), "refine"))
    return trace.finish(Stop.EOS, "", halt=[0.25] * len(grids))


def test_steps_count_what_changed():
    near = SOLVED.replace("123456", "123465", 1)
    steps = steps_of(attempt(near, SOLVED, SOLVED))
    assert [s.number for s in steps] == [0, 1, 2, 3]
    assert [s.changed for s in steps][2:] == [2, 0]
    assert [len(s.broken) > 0 for s in steps] == [False, True, False, False]
    assert steps[0].sure is None
    assert steps[1].sure == 0.25


def test_a_heading_says_what_can_be_seen_without_the_solution():
    near = SOLVED.replace("123456", "123465", 1)
    assert [caption(step) for step in steps_of(attempt(near, SOLVED))] == ["puzzle", "step 1\n4 cells clash", "step 2\nevery rule is kept"]
    trace = Trajectory("p", meta={"puzzle": "###\n#SG\n###"}).add(Segment(None, None, "###\n#SG\n###", None, Stop.EOS, Cost(), "refine"))
    assert [caption(step) for step in steps_of(trace.finish(Stop.EOS, ""))] == ["puzzle", "step 1"]


def test_a_cell_is_broken_when_its_digit_stands_twice_in_a_unit():
    rows = SOLVED.split("\n")
    rows[0] = "223456"
    found, flat, where = broken("\n".join(rows)), "".join(rows), units(6)
    for i in range(36):
        twice = any(j != i and flat[j] == flat[i] and any(a == b for a, b in zip(where[i], where[j], strict=True)) for j in range(36))
        assert (i in found) == twice
    assert {0, 1} <= found
    assert broken("#####\n#S.G#\n#####") == frozenset()
    assert broken(PUZZLE) == frozenset(), "blanks clash with nothing"


def test_a_picture_keeps_the_puzzle_the_first_and_the_last_change():
    grids = [SOLVED.replace("123456", row, 1) for row in ("111111", "121111", "123111", "123451", "123456", "123456", "123456")]
    steps = steps_of(attempt(*grids))
    kept = [s.number for s in shown(steps, 4)]
    assert kept[:2] == [0, 1]
    assert kept[-1] == 5, "nothing changed after it"
    assert len(kept) == 4
    assert [s.number for s in shown(steps[:3], 4)] == [0, 1, 2]


def test_the_page_tells_every_step_and_asks_the_network_for_nothing():
    text = steps_page(attempt(SOLVED.replace("123456", "123465", 1), SOLVED), "small-trm", "reasonry solve <x>")
    assert "The last step still changed cells." in text
    assert "0.250" in text
    assert "&lt;x&gt;" in text
    assert "http://" not in text.replace("http://www.w3.org", "")


@pytest.mark.parametrize("kind", [".html", ".png", ".svg", ".gif"])
def test_each_kind_of_file_is_written(tmp_path, kind):
    path = write_steps(tmp_path / "deep" / f"a{kind}", attempt(SOLVED.replace("123456", "123465", 1), SOLVED), "m")
    begins = {".html": b"<!doctype html", ".png": b"\x89PNG", ".svg": b"<?xml", ".gif": b"GIF89a"}[kind]
    assert path.read_bytes()[: len(begins)].lower() == begins.lower()


def test_a_maze_and_arc_grid_can_be_drawn(tmp_path):
    for puzzle, said in (("###\n#SG\n###", "###\n#SG\n###"), ("12\n34", "12\n35")):
        trace = (
            Trajectory("p", meta={"puzzle": puzzle}).add(Segment(None, None, said, None, Stop.EOS, Cost(), "refine")).finish(Stop.EOS, "")
        )
        assert write_steps(tmp_path / "a.png", trace, "m").stat().st_size > 500


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(UserError, match="no steps"):
        steps_of(Trajectory("p").finish(Stop.EOS, "4"))
    with pytest.raises(UserError, match=r"\.html, \.png"):
        write_steps(tmp_path / "a.pdf", attempt(SOLVED), "m")
