"""Asynchronous training (PipelineRL-k, ScaleRL, arXiv 2510.13786; Piché et al. 2025): sampling never waits for learning.

controller   who may start, what is trained next; no clock, no model, no network: the invariant `staleness ≤ k` is kept here
simulate     the controller under simulated clocks: throughput, idle shares and staleness of a cluster that one does not have
train        the controller over real workers: `local` in this process, `actors` on Ray, either with our engine or with vLLM
double       exact in-flight staleness for the ordinary loop: old copies of the weights that change in mid-answer
"""
