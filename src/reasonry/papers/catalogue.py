"""The 44 methods this project is to hold, built or not: what `reasonry papers` lists. A method that is built is in `PAPERS` too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One method of the list."""

    slug: str
    method: str
    source: str
    """Where it was published."""
    rooms: str
    """Where its algorithm lives, or will live."""


CATALOGUE: tuple[Entry, ...] = (
    Entry("trm", "Tiny Recursive Model", "arXiv 2510.04871", "worlds"),
    Entry("molochs-bargain", "Emergent misalignment from competing for audiences: RFT, TFB, probes", "arXiv 2510.06105", "train, probe"),
    Entry("ace", "Agentic Context Engineering", "arXiv 2510.04618", "solve"),
    Entry("inoculation-prompting", "Inoculation Prompting", "arXiv 2510.05024", "synth"),
    Entry("h1", "Longer horizons by chained problems and a length curriculum", "arXiv 2510.07312", "synth, train"),
    Entry("delethink", "The Markovian Thinker", "arXiv 2510.06557", "solve"),
    Entry("arcmemo", "ArcMemo concept memory (OE, PS)", "arXiv 2509.04439", "solve"),
    Entry("mem-agent", "mem-agent, md-memory-bench", "Hugging Face blog, October 2025", "solve, tasks"),
    Entry("ahn", "Artificial Hippocampus Networks", "arXiv 2510.07318", "accel"),
    Entry("webscale-rl", "Webscale-RL data pipeline", "arXiv 2510.06499", "synth"),
    Entry("agentflow", "AgentFlow, Flow-GRPO", "arXiv 2510.05592", "solve, train"),
    Entry("code-world-models", "Code World Models, MCTS / ISMCTS", "arXiv 2510.04542", "solve, tasks"),
    Entry("memory-forcing", "Memory Forcing", "arXiv 2510.03198", "worlds"),
    Entry("vgb", "Verifier-guided backtracking", "arXiv 2510.03149", "solve"),
    Entry("sfr-deepresearch", "SFR-DeepResearch", "arXiv 2509.06283", "solve, train"),
    Entry("hicra", "Hierarchy-aware credit, semantic entropy", "arXiv 2509.03646", "train, probe"),
    Entry("refrag", "REFRAG", "arXiv 2509.01092", "accel"),
    Entry("ace-rl", "Adaptive checklist rewards for long writing", "arXiv 2509.04903", "train"),
    Entry("parathinker", "ParaThinker", "arXiv 2509.04475", "solve"),
    Entry("agentgym-rl", "AgentGym-RL, ScalingInter-RL", "arXiv 2509.08755", "tasks, train"),
    Entry("talk-isnt-cheap", "Multi-agent debate and its failures", "arXiv 2509.05396", "solve, probe"),
    Entry("agglm", "AggLM", "arXiv 2509.06870", "solve, train"),
    Entry("rl-survey", "Survey of RL for large reasoning models: the catalogue of objectives", "arXiv 2509.08827", "train"),
    Entry("livemcp-101", "LiveMCP-101", "arXiv 2508.15760", "tasks, probe"),
    Entry("c2s-scale", "Cell2Sentence-Scale", "bioRxiv 2025.04.14.648850", "worlds, tasks"),
    Entry("scalerl", "ScaleRL recipe, compute curves, PipelineRL", "arXiv 2510.13786", "train, probe"),
    Entry("grpo-tcr", "GRPO-TCR, DemyAgent", "arXiv 2510.11701", "train"),
    Entry("emergent-coordination", "Information decomposition of agent groups", "arXiv 2510.05174", "probe"),
    Entry("elastic-cache", "Elastic-Cache", "arXiv 2510.14973", "accel"),
    Entry("dr-llm", "Dr.LLM layer routing", "arXiv 2510.12773", "accel"),
    Entry("brain-rot", "Junk-data dosing", "arXiv 2510.13928", "synth, probe"),
    Entry("hero", "Hybrid verifier + reward-model rewards", "arXiv 2510.07242", "train"),
    Entry("kimi-dev", "Agentless training as skill prior", "arXiv 2509.23045", "solve, synth, train"),
    Entry("hal", "Holistic agent evaluation", "arXiv 2510.11977", "probe, tasks"),
    Entry("dreamer4", "Dreamer 4", "arXiv 2509.24527", "worlds"),
    Entry("dsa", "DeepSeek Sparse Attention", "DeepSeek-V3.2-Exp technical report; arXiv 2512.02556", "accel"),
    Entry("rlhi", "Learning from real user conversations", "arXiv 2509.25137", "synth, train"),
    Entry("salt", "Static-teacher video representation", "arXiv 2509.24317", "worlds"),
    Entry("agent-s3", "Behavior best-of-N", "arXiv 2510.02250", "solve"),
    Entry("deepsearch", "Tree search inside RL training", "arXiv 2509.25454", "solve, train"),
    Entry("learn2pd", "Learned parallel decoding, EoTP", "arXiv 2509.25188", "accel"),
    Entry("rsd", "Reverse speculative decoding", "arXiv 2509.22230", "synth"),
    Entry("tumix", "Tool-use mixture", "arXiv 2510.01279", "solve"),
    Entry("promptcot2", "PromptCoT 2.0", "arXiv 2509.19894", "synth"),
)
"""In the order of the list."""

FURTHER: tuple[Entry, ...] = (
    Entry("delethink-rl", "The Markovian Thinker: RL in the chunked environment", "arXiv 2510.06557", "solve, train"),
)
"""Second experiments on papers of the list, each with evidence of its own; in `PAPERS` when built, not counted among the 44."""
