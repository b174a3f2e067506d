"""What an attempt spends (`Cost`) and may spend (`Budget`).

Invariant: nothing spends without returning a `Cost`, and costs add. `a + b` is one thing after another; `a | b` is two things side
by side, for which seconds overlap and key–value caches stand in memory together.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from reasonry.core.errors import UserError

UNITS = ("tokens", "completion_tokens", "calls", "flops", "seconds", "money", "verifier_calls")


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent. Zero everywhere by default, so that a part fills in only what it knows."""

    prompt_tokens: int = 0
    """Tokens handed to the model as context, summed over calls, whether or not a cache already held them."""
    completion_tokens: int = 0
    """Tokens the model sampled."""
    prefill_tokens: int = 0
    """Context tokens the model really computed: `prompt_tokens` less those found in a cache. 0 for an endpoint that does not say."""
    calls: int = 0
    """Model calls."""
    flops: float = 0.0
    """Floating-point operations of the forward passes, a multiply and an add counted as two. 0 where unknown (endpoints)."""
    peak_kv_bytes: int = 0
    """The most key–value cache held at once, in bytes. Adds by maximum in sequence, by sum side by side."""
    layers_run: int = 0
    """Transformer blocks executed, summed over tokens computed."""
    verifier_calls: int = 0
    """Calls of a verifier or reward model."""
    seconds: float = 0.0
    """Wall-clock seconds from asking to answer, waiting included."""
    money: float = 0.0
    """US dollars, where a price per token is known."""

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together: what an endpoint would bill."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def processed_tokens(self) -> int:
        """Tokens that went through the network: context computed plus tokens sampled."""
        return self.prefill_tokens + self.completion_tokens

    def __add__(self, other: Cost) -> Cost:
        """The cost of one after the other."""
        return self._join(other, peak=max(self.peak_kv_bytes, other.peak_kv_bytes), seconds=self.seconds + other.seconds)

    def __or__(self, other: Cost) -> Cost:
        """The cost of both at the same time: seconds overlap, caches stand side by side."""
        return self._join(other, peak=self.peak_kv_bytes + other.peak_kv_bytes, seconds=max(self.seconds, other.seconds))

    def _join(self, other: Cost, peak: int, seconds: float) -> Cost:
        summed = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Cost)}
        return Cost(**{**summed, "peak_kv_bytes": peak, "seconds": seconds})


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit in any unit of `Cost`; `None` is no limit. Solvers stop at it and say so (`Stop.BUDGET`)."""

    tokens: int | None = None
    completion_tokens: int | None = None
    calls: int | None = None
    flops: float | None = None
    seconds: float | None = None
    money: float | None = None
    verifier_calls: int | None = None

    def __post_init__(self) -> None:
        for unit, limit in self.limits():
            if limit < 0:
                raise UserError(f"Budget: {unit} is {limit} but a limit is zero or more; leave it out for no limit")

    def limits(self) -> list[tuple[str, float]]:
        """The units that are limited, with their limits."""
        return [(unit, limit) for unit in UNITS if (limit := getattr(self, unit)) is not None]

    def left(self, cost: Cost) -> Budget:
        """What remains after `cost`; never below zero."""
        return Budget(**{unit: max(limit - getattr(cost, unit), 0) for unit, limit in self.limits()})

    def spent(self, cost: Cost) -> str | None:
        """The first unit in which `cost` has used this budget up, or `None` while all have room."""
        return next((unit for unit, limit in self.limits() if getattr(cost, unit) >= limit), None)

    def room(self, want: int, prompt_tokens: int = 0) -> int:
        """How many tokens the next call may sample: at most `want`, and within the token limits once its prompt is paid for."""
        caps = [want]
        if self.completion_tokens is not None:
            caps.append(self.completion_tokens)
        if self.tokens is not None:
            caps.append(self.tokens - prompt_tokens)
        return max(min(caps), 0)

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads `"256"` (completion tokens) or `"tokens=4096,calls=8"`; raises UserError for another unit or no number."""
        pairs = [p.strip() for p in text.split(",") if p.strip()]
        limits: dict[str, float] = {}
        for pair in pairs:
            unit, _, number = pair.rpartition("=")
            unit = unit.strip() or "completion_tokens"
            if unit not in UNITS:
                raise UserError(f"budget: {unit!r} is not a unit; use one of {', '.join(UNITS)}")
            try:
                value = float(number)
            except ValueError:
                raise UserError(f"budget: {number!r} is not a number; write for example {unit}=512") from None
            limits[unit] = value if unit in ("flops", "seconds", "money") else int(value)
        if not limits:
            raise UserError(f"budget: {text!r} names no limit; write for example 512 or tokens=4096,calls=8")
        return cls(**limits)  # type: ignore[arg-type]  # units were checked against the fields just above

    def __str__(self) -> str:
        return ", ".join(f"{unit}={limit:g}" for unit, limit in self.limits()) or "no limit"
