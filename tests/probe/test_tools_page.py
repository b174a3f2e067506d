"""The tools' page shows the columns and monitors that the code has."""

from pathlib import Path

from reasonry.probe.monitors import MONITORS
from reasonry.probe.training_log import COLUMNS

PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text()


def test_every_column_and_monitor_stands_on_the_page():
    for series, names in COLUMNS.items():
        assert f"| `{series}` |" in PAGE
        assert ", ".join(f"`{name}`" for name in names) in PAGE
    for name, monitor in MONITORS.items():
        assert f"| {name} | {monitor.watches} |" in PAGE
