"""The engine: many rows of one decoder computed together.

Read `row` (what is asked), `scheduler` (who is next), `batch` (what a step computes and attends to), `engine` (the step), then `pool` and
`prefix` (the memory), `sampler` and `text` (what comes out), `sequence` (the handle), `flops` (what it costs).
"""
