"""The command line with a scripted model and task in place of real ones: `python scripted_cli.py SECONDS compare --model ...`."""

import sys

from scripted import ScriptedLM, Sums

from reasonry import cli
from reasonry.evaluate import command, networks

if __name__ == "__main__":
    seconds = float(sys.argv.pop(1))
    networks.load_lm = lambda spec, **options: ScriptedLM(seconds=seconds, name=spec)
    command.load_task = lambda spec: Sums(spec)
    cli.main()
