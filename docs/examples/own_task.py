"""Your own task: anything with a name, problems, and a judge."""

from dataclasses import dataclass

from reasonry.core import Problem, Verdict
from reasonry.tasks import load_task


# --8<-- [start:task]
@dataclass(frozen=True)
class Reverse:
    """Write a word backwards. The words of a split are never those of another."""

    name: str = "reverse"

    def problems(self, split: str, n: int | None = None, seed: int = 0) -> list[Problem]:
        """The same problems on every machine for a split and seed."""
        words = {"train": ["stone", "lamp"], "test": ["river", "cloud", "bread"]}[split]
        return [Problem(id=f"{split}-{w}", prompt=f"Write backwards: {w}", answer=w[::-1]) for w in words[:n]]

    def extract(self, text: str) -> str | None:
        """The last word a model wrote."""
        words = text.split()
        return words[-1].strip(".").lower() if words else None

    def judge(self, problem: Problem, answer: str) -> Verdict:
        """Right when the last word is the reversed one."""
        found = self.extract(answer)
        right = found == problem.answer
        return Verdict(score=float(right), passed=right, why=f"last word {found!r}, wanted {problem.answer!r}", answer=found)


# --8<-- [end:task]

if __name__ == "__main__":
    task = Reverse()
    problem = task.problems("test", n=1)[0]
    print(problem.prompt, "->", task.judge(problem, "It is revir.").why)
    print(load_task("arithmetic").problems("test", n=1, seed=0)[0].prompt)
