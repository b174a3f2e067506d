"""What holds for the repository as a whole: its texts are true, its files are small, its examples run."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
BINARY = {".safetensors", ".png", ".gz"}


def tracked() -> list[Path]:
    """Every text file git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [p for name in listed.stdout.split("\0") if name and (p := ROOT / name).suffix not in BINARY and p.exists()]


def run(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=environment)


def test_every_module_says_what_it_is():
    silent = [str(p.relative_to(ROOT)) for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text()))]
    assert silent == []


def test_no_source_file_is_longer_than_a_reader_holds():
    long = {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 450}
    assert long == {}


def test_the_changelog_has_a_section_for_the_present_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_pins_meet_every_declared_requirement():
    """A pin outside a declared range would make the two commands fail on a fresh machine."""
    from packaging.requirements import Requirement

    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line and line[0] != "#")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [Requirement(r) for rs in (project["dependencies"], *project["optional-dependencies"].values()) for r in rs]
    unpinned = [r.name for r in declared if r.name.lower() not in pins]
    outside = [r.name for r in declared if r.name.lower() in pins and not r.specifier.contains(pins[r.name.lower()])]
    assert (unpinned, outside) == ([], [])


def test_no_text_speaks_of_one_machine():
    """Absolute paths of somebody's machine and addresses of package registries are nobody else's."""
    hosts = "|".join(("pypi" + r"\.org", "python" + "hosted", r"registry\.npm" + "js", r"download\.py" + "torch"))
    private = re.compile(rf"(^|[\s\"'`(=:])/(work|root|home)/|{hosts}", re.MULTILINE)
    found = {str(p.relative_to(ROOT)): m[0].strip() for p in tracked() if p != Path(__file__) and (m := private.search(p.read_text()))}
    assert found == {}


def test_generated_tables_and_pages_are_current():
    done = run("tools/tables.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_quick_outputs_in_the_readme_are_what_the_commands_print():
    done = run("tools/readme.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_examples_of_the_documentation_run(example: Path, tmp_path: Path):
    done = run(str(example), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path: Path):
    pytest.importorskip("material")
    done = run("-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_a_changed_interface_needs_a_changelog_line(monkeypatch: pytest.MonkeyPatch):
    """The snapshot is renewed only beside a CHANGELOG that has moved on as well."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import tables  # pyright: ignore[reportMissingImports]

    monkeypatch.setattr(tables, "interface", lambda: "core.Old()\n")
    first = tables.api_text("")
    assert tables.api_text(first) == first
    monkeypatch.setattr(tables, "interface", lambda: "core.New()\n")
    with pytest.raises(SystemExit, match=r"CHANGELOG\.md"):
        tables.api_text(first)
    before_the_log_moved_on = "# Public interface; made beside CHANGELOG 0123456789abcdef\ncore.Old()\n"
    assert tables.api_text(before_the_log_moved_on).endswith("core.New()\n")


def test_generated_blocks_replace_only_what_is_between_the_marks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from blocks import fill  # pyright: ignore[reportMissingImports]

    text = "a\n<!-- table: x -->\nold\n<!-- end -->\nb\n<!-- file: y -->\nkept\n<!-- end -->\n"
    assert fill(text, {"table": lambda name, body: f"new {name}\n"}) == text.replace("old", "new x")
    with pytest.raises(ValueError, match="no <!-- end -->"):
        fill("<!-- table: x -->\nlost\n<!-- table: y -->\n<!-- end -->\n", {})
