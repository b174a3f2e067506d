"""`reasonry probe window-cost`: what a window with a memory saves on a model's shape, by the place in the text."""

from __future__ import annotations

from pathlib import Path

import click

from reasonry.cli.probe import JSON, OUT, _print_json, _write, probe


@probe.command("window-cost")
@click.option("--model", required=True, metavar="SPEC", help="A checkpoint folder, a config.json, or pocket; no weights are read.")
@click.option("--window", "size", default="32640", show_default=True, metavar="TOKENS", help="Of the sliding window; k is 1024.")
@click.option("--sinks", default=128, show_default=True, type=click.IntRange(0), help="First tokens that are kept beside it.")
@click.option("--contexts", default="8k,32k,128k,1M", show_default=True, help="Tokens before the next one.")
@click.option("--kv-bytes", default=2, show_default=True, type=click.IntRange(1), help="Bytes of a number in the cache.")
@JSON
@OUT
def window_cost(model: str, size: str, sinks: int, contexts: str, kv_bytes: int, as_json: bool, out: Path | None) -> None:
    """Say what a sliding window with a memory (AHN) saves on your model: operations of a token and a prompt, and memory."""
    from reasonry.accel.ahn import Window
    from reasonry.evaluate.thinking_cost import length, shape_of
    from reasonry.evaluate.window_cost import places, window_html, window_json, window_text

    name, config = shape_of(model)
    window = Window(length(size, "--window"), sinks)
    found = places(config, window, [length(part, "--contexts") for part in contexts.split(",")], kv_bytes)
    if as_json:
        _print_json(window_json(name, window, found))
    else:
        click.echo(window_text(name, window, found))
    _write(out, lambda: window_html(name, config, window, found))
