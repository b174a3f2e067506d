"""Trajectories are data: they survive JSON, and their cost is what their segments spent."""

import msgspec

from reasonry.core import Cost, Segment, Stop, ToolCall, Trajectory, Verdict


def segment(n: int, **more: object) -> Segment:
    cost = Cost(prompt_tokens=10, completion_tokens=n, calls=1, seconds=float(n), peak_kv_bytes=100 * n)
    return Segment(tuple(range(10)), tuple(range(n)), "x" * n, tuple(-0.5 for _ in range(n)), Stop.EOS, cost, **more)  # type: ignore[arg-type]


def test_a_trajectory_survives_json() -> None:
    """Encoding and decoding gives back an equal trajectory, tool calls and verdict included."""
    tool = ToolCall("calculator", {"expression": "1+1"}, "2")
    trace = Trajectory("p", verdict=Verdict(1.0, True, "equal", "2", {"format": 1.0})).add(segment(3, tool=tool), segment(2, parent=0))
    trace = trace.finish(Stop.EOS, "#### 2", votes={"2": 3})
    assert msgspec.json.decode(msgspec.json.encode(trace), type=Trajectory) == trace


def test_calls_one_after_another_and_side_by_side_are_priced_apart() -> None:
    """Tokens add either way; seconds and caches follow how the calls ran."""
    serial = Trajectory("p").add(segment(3), segment(2)).cost
    parallel = Trajectory("p").beside((segment(3), segment(2))).cost
    assert serial.completion_tokens == parallel.completion_tokens == 5
    assert (serial.seconds, parallel.seconds) == (5.0, 3.0)
    assert (serial.peak_kv_bytes, parallel.peak_kv_bytes) == (300, 500)
