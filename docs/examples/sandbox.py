"""Python that a model wrote, run where it can do no harm: `python docs/examples/sandbox.py`."""

from reasonry.core import UserError
from reasonry.tasks.sandbox import Limits, Sandbox, sandbox_report

FINE = "from fractions import Fraction\nprint(sum(Fraction(1, n) for n in range(1, 11)))"
CURIOUS = "print(open('/etc/passwd').read())"
ENDLESS = "print('so far')\nwhile True: pass"


def show() -> None:
    """A result, two refusals, and what holds them on this machine."""
    sandbox = Sandbox(Limits(seconds=2))
    for code in (FINE, CURIOUS, ENDLESS):
        ran = sandbox.run_now(code)
        print(f"{ran.ending}, status {ran.exit}: {ran.stdout.strip() or ran.stderr.strip().splitlines()[-1]}")
    with sandbox.session() as session:
        session.run_now("x = 20")
        print("a session remembers:", session.run_now("x + 1").stdout.strip())
    print(sandbox_report())


if __name__ == "__main__":
    try:
        show()
    except UserError as refused:  # a machine that cannot hold what is promised
        print(refused)
