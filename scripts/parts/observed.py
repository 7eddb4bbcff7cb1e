"""What a trace has to say.

Pure functions of the model that trace_view makes of a trace. Its times are in
microseconds, the printed ones in milliseconds.
"""

import trace_view
from parts.language import fill

SLEEPS = 2          # the kind of a packet's work, in trace_view's model


def of_kind(model, *kinds):
    """Returns the packets of these kinds, in the order they were taken."""
    return [p for p in model["packets"]
            if trace_view.KINDS[p["kind"]] in kinds]


def operations(model, conn=None):
    """Returns the packets that the server counts as completions."""
    return [p for p in of_kind(model, *trace_view.OPERATIONS)
            if conn in (None, p["conn"])]


def moments(model, name):
    return [m for m in model["moments"] if m["name"] == name]


def kernel_spans(model, operation=None):
    """Returns the spans from post to packet, in the order of posting."""
    return [s for s in model["spans"]
            if s["operation"] and operation in (None, s["operation"])]


def changes(values):
    """Counts how often a value differs from the one before."""
    return sum(a != b for a, b in zip(values, values[1:]))


def most_at_once(intervals):
    """Returns the most intervals (start, end) that overlap."""
    edges = sorted([(end, -1) for _, end in intervals]
                   + [(start, 1) for start, _ in intervals])
    most = now = 0
    for _, change in edges:
        now += change
        most = max(most, now)
    return most


def time_with_more(intervals, limit):
    """Returns for how long more than `limit` intervals overlap."""
    edges = sorted([(end, -1) for _, end in intervals]
                   + [(start, 1) for start, _ in intervals])
    total, now, last = 0, 0, 0
    for time_, change in edges:
        if now > limit:
            total += time_ - last
        now, last = now + change, time_
    return total


def who_woke(model):
    """Counts who got the packets that were taken while several workers
    waited: the one that had waited "shortest", "longest", or "another". A
    worker without a packet so far has waited longest; while all are like
    that, nothing is counted."""
    counts = {"shortest": 0, "longest": 0, "another": 0}
    parked = {row["worker"]: -1.0 for row in model["workers"]}
    for packet in of_kind(model, *trace_view.OPERATIONS, "posted"):
        waiting = {worker: since for worker, since in parked.items()
                   if since <= packet["start"]}
        since = waiting.get(packet["worker"])
        if since is not None and len(set(waiting.values())) > 1:
            if since == max(waiting.values()):
                counts["shortest"] += 1
            elif since == min(waiting.values()):
                counts["longest"] += 1
            else:
                counts["another"] += 1
        parked[packet["worker"]] = packet["end"]
    return counts


def overtaken(spans):
    """Counts the operations that a later one overtook."""
    earliest, count = float("inf"), 0
    for span in sorted(spans, key=lambda s: s["start"], reverse=True):
        count += earliest < span["end"]
        earliest = min(earliest, span["end"])
    return count


def overtaken_within_connections(spans):
    return sum(overtaken(mine)
               for mine in trace_view.group(spans, "conn").values())


def work_intervals(model):
    return [(p["work_start"], p["work_end"]) for p in operations(model)
            if p["work"]]


def running_intervals(model):
    """Returns when a worker had a packet and did not sleep."""
    packets = operations(model)
    awake = [p for p in packets if p["work"] != SLEEPS]
    asleep = [p for p in packets if p["work"] == SLEEPS]
    return ([(p["start"], p["end"]) for p in awake]
            + [(p["start"], p["work_start"]) for p in asleep]
            + [(p["work_end"], p["end"]) for p in asleep])


def taken_beside(model, limit):
    """Counts the packets taken while at least `limit` other workers were
    blocked in their work."""
    work = work_intervals(model)
    return sum(sum(start < p["start"] < end for start, end in work) >= limit
               for p in operations(model))


def ms(microseconds):
    return f"{microseconds / 1000:.1f}"


def listed(values):
    text = " ".join(map(str, values)) or {"en": "none", "ko": "없음"}
    return fill({"en": "{text}", "ko": "{text}"}, text=text)


def kind_names(packets):
    names = listed(trace_view.KINDS[p["kind"]] for p in packets)
    return {**names, "ko": names["ko"].replace("failed", "실패한")}


def codes(packets):
    return listed(sorted({p["error"] for p in packets}))
