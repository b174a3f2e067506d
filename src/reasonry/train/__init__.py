"""From a model to a better model. Read `recipe` (what is decided), `loop` (what happens), `update` (one batch) and `rows` (the forward
pass) for learning from rewarded attempts; `objective` and `catalogue` for what is optimised; `sft` for supervised training."""
