"""Problems, judges and tools. `load_task` finds any of them by name; a task is anything with the shape of `core.Task`."""

from reasonry.tasks.loaders import Data, from_path, from_rows
from reasonry.tasks.spec import TASKS, load_task

__all__ = ["TASKS", "Data", "from_path", "from_rows", "load_task"]
