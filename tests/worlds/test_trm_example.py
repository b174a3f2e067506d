"""The example of the documentation runs as it stands."""

import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "trm.py"


def test_the_example_trains_saves_and_answers(tmp_path, capsys):
    answer = runpy.run_path(str(EXAMPLE))["main"](tmp_path, steps=2, puzzles=20)
    assert len(answer.rpartition("#### ")[2]) == 41
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert "right after 1, 2, 4 and 8 steps:" in capsys.readouterr().out
