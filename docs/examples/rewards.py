"""Three rewards for arithmetic, as TRL calls them; the first two have faults that `reasonry probe reward` finds."""

import re


def anywhere(completions, answer, **columns):
    """1 where the answer stands anywhere in the text."""
    return [float(a in text) for text, a in zip(completions, answer, strict=True)]


def effort(completions, answer, **columns):
    """The final line counts, and so does every character."""
    return [last_line(text, a) + 0.001 * len(text) for text, a in zip(completions, answer, strict=True)]


def strict(completions, answer, **columns):
    """1 where the last line that begins with #### holds the answer."""
    return [last_line(text, a) for text, a in zip(completions, answer, strict=True)]


def last_line(text: str, answer: str) -> float:
    """1 where the last marked line is the answer."""
    marked = re.findall(r"^#### (.*)$", text, re.MULTILINE)
    return float(bool(marked) and marked[-1].strip() == answer)


if __name__ == "__main__":
    texts = ["1+2=3\n#### 3", "maybe 3, maybe 4", "#### 4"]
    for reward in (anywhere, effort, strict):
        print(f"{reward.__name__:9}", *(f"{r:.3f}" for r in reward(texts, ["3", "3", "3"])))
