"""A sandbox for Python that a model wrote: it runs the code, or refuses where the machine cannot hold what is promised."""

from reasonry.tasks.sandbox.report import Report, sandbox_report
from reasonry.tasks.sandbox.run import Sandbox, Session
from reasonry.tasks.sandbox.values import Ending, Form, Limits, Ran

__all__ = ["Ending", "Form", "Limits", "Ran", "Report", "Sandbox", "Session", "sandbox_report"]
