"""One file per paper: the experiment, its arms, its claims. Composition only. `PAPERS` holds what is built, `catalogue` lists all."""

from reasonry.core import Paper
from reasonry.papers.agglm import PAPER as AGGLM
from reasonry.papers.ahn import PAPER as AHN
from reasonry.papers.coordination import PAPER as COORDINATION
from reasonry.papers.deepsearch import PAPER as DEEPSEARCH
from reasonry.papers.delethink import PAPER as DELETHINK
from reasonry.papers.delethink_rl import PAPER as DELETHINK_RL
from reasonry.papers.dr_llm import PAPER as DR_LLM
from reasonry.papers.grpo_tcr import PAPER as GRPO_TCR
from reasonry.papers.h1 import PAPER as H1
from reasonry.papers.hero import PAPER as HERO
from reasonry.papers.hicra import PAPER as HICRA
from reasonry.papers.parathinker import PAPER as PARATHINKER
from reasonry.papers.rl_survey import PAPER as RL_SURVEY
from reasonry.papers.rsd import PAPER as RSD
from reasonry.papers.scalerl import PAPER as SCALERL
from reasonry.papers.talk import PAPER as TALK
from reasonry.papers.trm import PAPER as TRM
from reasonry.papers.tumix import PAPER as TUMIX
from reasonry.papers.vgb import PAPER as VGB

PAPERS: dict[str, Paper] = {
    paper.slug: paper
    for paper in (
        AGGLM,
        AHN,
        COORDINATION,
        DEEPSEARCH,
        DELETHINK,
        DELETHINK_RL,
        DR_LLM,
        GRPO_TCR,
        H1,
        HERO,
        HICRA,
        PARATHINKER,
        RL_SURVEY,
        RSD,
        SCALERL,
        TALK,
        TRM,
        TUMIX,
        VGB,
    )
}
"""Slug → paper."""

__all__ = ["PAPERS"]
