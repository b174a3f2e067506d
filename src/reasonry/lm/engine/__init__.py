"""The engine: many rows of one decoder computed together.

Read `row` (what is asked), `scheduler` (who is next), `batch` (what a step computes and attends to), `engine` (the step), then `pool`,
`prefix` and `lanes` (the memory), `forward` (the arithmetic), `sampler` and `text` (what comes out), `sequence` (the handle) and `flops`
(what it costs).
"""
