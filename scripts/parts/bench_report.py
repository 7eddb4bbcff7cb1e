"""Shows what bench.py has measured: as text for a terminal, and as a page.

Both come from the dictionary that --json writes: see bench.py's make_result.
"""

import html
import math
import textwrap

WIDTH = 1200            # of a plot, in its own units
LEFT, RIGHT = 190, 250  # for the names, and for the figures
LANE = 38
CUT = 2                 # bars longer than CUT times our longest are cut off
INK, SOFT, LINE, PAPER = "#1B1B1B", "#57534B", "#B9B4A9", "#FBFAF7"
FILLS = {"mode": "#0072B2", "step": "#E69F00", "against": "#009E73",
         "native": "#B9B4A9"}
LINES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
         "#1B1B1B"]
SCALE = "scale-"


# ---------------------------------- words -----------------------------------

def figure(value):
    """Shows a number with about three digits: more would be noise."""
    if value is None:
        return "-"
    digits = 0 if value >= 100 or not value else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def cpu_of_both(row):
    """Returns the server's CPU time plus that of wineserver, which does part
    of its work."""
    parts = [row["server_cpu_us"], row["wineserver_cpu_us"]]
    return sum(part for part in parts if part is not None)


def columns(workload):
    """Returns (heading, key of a row) for each column that has figures."""
    if workload["name"] == "idle":
        every = [("bytes", "median"), ("min", "low"), ("max", "high"),
                 ("ratio", "ratio"), ("wineserver", "wineserver_bytes")]
    else:
        every = [(workload["unit"], "median"), ("min", "low"),
                 ("max", "high"), ("ratio", "ratio"), ("p50", "p50_us"),
                 ("p99", "p99_us"), ("server", "server_cpu_us"),
                 ("wine", "wineserver_cpu_us"), ("load", "load_cpu_us"),
                 ("threads", "threads")]
    return [(heading, key) for heading, key in every
            if any(row[key] is not None for row in workload["servers"])]


def rows(workload):
    """Returns the table: headings, then a line for each server."""
    shown = columns(workload)
    return [["server", *(heading for heading, _ in shown)]] + [
        [row["name"], *("-" if row[key] is None else f"{row[key]:.2f}"
                        if key == "ratio" else f"{row[key]:.0f}"
                        if key == "threads" else figure(row[key])
                        for _, key in shown)]
        for row in workload["servers"]] + [
        [name, "can't", *"-" * (len(shown) - 1)]
        for name in workload["unreached"]]


def legend(workload):
    if workload["name"] == "idle":
        return "bytes of the server's own memory for each connection"
    unit = workload["per"]
    begins = "connecting" if workload["name"] == "churn" else "sending"
    latency = f"p50, p99: us from {begins} to the echo; " if any(
        row["p50_us"] for row in workload["servers"]) else ""
    return (f"{latency}server, wine(server), load: us of CPU time for each "
            f"{unit}")


def verdict(workload):
    """Says what shows whether the load was the bottleneck."""
    plain = next((r for r in workload["servers"] if r["name"] == "plain"),
                 None)
    measured = [r for r in workload["servers"]
                if r["kind"] != "native" and r["load_busy"] is not None]
    if not measured:
        return ""
    busiest = max(measured, key=lambda row: row["load_busy"])
    text = (f"the load's busiest process used {busiest['load_busy']:.0%} of a "
            f"CPU at most ({busiest['name']})")
    native = next((r for r in workload["servers"] if r["kind"] == "native"),
                  None)
    if native and plain and native["ratio"]:
        text = (f"the same load drives a native echo {native['ratio']:.1f} "
                f"times as fast as plain; " + text)
    return sentence(text, meanwhile(workload["servers"]))


def meanwhile(measured):
    """Says what else used the CPUs, as that may explain a difference."""
    others = [row["others_busy"] for row in measured
              if row["others_busy"] is not None]
    if max(others, default=0) < 0.1:
        return ""
    return ("programs that are no part of this had up to "
            f"{max(others):.1f} CPUs meanwhile")


def sentence(*parts):
    text = "; ".join(part for part in parts if part)
    return text[:1].upper() + text[1:]


def scale_rows(result):
    """Returns one table of all scale- workloads: what a message costs."""
    table = [["server", "connections", "messages/s", "us/message", "CPU us",
              "x", "p50 us", "p99 us", "load"]]
    points = scale_points(result)
    for name, mine in points.items():
        first = cpu_of_both(mine[0][1]) if mine[0][0] == 10 else None
        for connections, row in mine:
            cost = cpu_of_both(row)
            table.append([
                name, f"{connections:,}", figure(row["median"]),
                figure(1e6 / row["median"]), figure(cost),
                f"{cost / first:.2f}" if first else "-",
                figure(row["p50_us"]), figure(row["p99_us"]),
                figure(row["load_cpu_us"])])
    return table


def scale_points(result):
    """name -> [(connections, row), ...]"""
    points = {}
    for workload in result["workloads"]:
        if workload["name"].startswith(SCALE):
            for row in workload["servers"]:
                points.setdefault(row["name"], []).append(
                    (workload["connections"], row))
    return points


def plain_ones(result):
    return [w for w in result["workloads"]
            if not w["name"].startswith(SCALE) and w["servers"]]


def scale_verdict(result):
    return sentence(meanwhile([row for mine in scale_points(result).values()
                               for _, row in mine]))


SCALE_TITLE = "what a message costs, by the number of connections"
SCALE_LEGEND = ("CPU us: of server and wineserver for each message; x: that, "
                "times what it is on 10 connections; load: us of its own")


COSTS_TITLE = "what one echo costs, counted with one client"
COSTS_LEGEND = ("calls: of Windows, as the checked server counts them, but "
                "those that an echo seldom makes; with --inline some depend "
                "on how soon the next message comes; instructions: of the "
                "server's own functions on the simulated Windows, compiled by "
                "gcc for Linux, where no operation is done at once")
SELDOM = 0.05  # times for each echo: what a sweep calls once a second


def cost_rows(result):
    """Returns a table of what one echo costs, a column for each mode; []
    where nothing was counted."""
    modes = {mode: cost for mode, cost in result["costs"].items() if cost}
    calls = [{call: times for call, times in cost.get("calls", {}).items()
              if times > SELDOM} for cost in modes.values()]
    ours = [sum(cost.get("instructions", {}).values())
            for cost in modes.values()]

    def row(name, values, form=".2g"):
        return [name, *(format(x, form) if x else "-" for x in values)]
    lines = [["", *modes],
             *(row(call, [each.get(call) for each in calls])
               for call in sorted(set().union(*calls))),
             row("all calls", [sum(each.values()) for each in calls]),
             row("instructions", ours, ",.0f")]
    return lines if modes else []


SERIOUS = 2  # seconds for each figure; shorter runs prove little


def about(result):
    """Returns lines that say what was measured, and on what."""
    machine, settings = result["machine"], result["settings"]
    rounds = settings["repeat"]
    lines = [f"{machine['server']}, {machine['date']}",
             f"{machine['processor']}, {machine['cores']} CPUs; "
             f"{machine['system']}; Python {machine['python']}",
             f"{rounds} round{'s' * (rounds > 1)} of {settings['seconds']:g} s"
             f" after {settings['warm_up']:g} s; load of "
             f"{settings['load_processes']} processes"]
    if settings["seconds"] * rounds < SERIOUS:
        lines.append("So short a run shows that it works; its figures mean "
                     "little")
    if machine["wine"]:
        lines.append(f"Under {machine['wine']}: these are figures of Wine, "
                     "not of Windows")
    return lines


# ----------------------------------- text -----------------------------------

def make_text(result):
    parts = ["\n".join(about(result)) + "\n"]
    for workload in plain_ones(result):
        parts.append("\n".join(
            [f"{workload['name']}: {workload['title']}",
             *table(rows(workload)),
             *wrapped(legend(workload)), *wrapped(verdict(workload))]) + "\n")
    if scale_points(result):
        parts.append("\n".join([f"scale: {SCALE_TITLE}",
                                *table(scale_rows(result)),
                                *wrapped(SCALE_LEGEND),
                                *wrapped(scale_verdict(result))]) + "\n")
    if cost_rows(result):
        parts.append("\n".join([f"costs: {COSTS_TITLE}",
                                *table(cost_rows(result)),
                                *wrapped(COSTS_LEGEND)]) + "\n")
    if result["notes"]:
        parts.append("".join(f"not measured: {note}\n"
                             for note in result["notes"]))
    return "\n".join(parts)


def wrapped(words):
    return textwrap.wrap(words, 78, initial_indent="  ",
                         subsequent_indent="  ")


def table(lines):
    """Formats a table; the first column is aligned to the left."""
    widths = [max(len(line[i]) for line in lines)
              for i in range(len(lines[0]))]
    return ["  ".join(cell.rjust(width) if i else cell.ljust(width)
                      for i, (cell, width) in enumerate(zip(line, widths)))
            for line in lines]


# ----------------------------------- page -----------------------------------

STYLE = """
html { font-size: clamp(14px, 1.25vw, 30px); }
body { margin: 0 auto; max-width: 76rem; padding: 0.5rem 1.5rem 2rem;
  background: #FBFAF7; color: #1B1B1B; font: 1.125rem/1.4 "Segoe UI",
  "Malgun Gothic", "Noto Sans", "Noto Sans CJK KR", system-ui, sans-serif;
  font-variant-numeric: tabular-nums; }
h1 { font-size: 1.6rem; margin: 0.5rem 0; }
h2 { font-size: 1.4rem; margin: 2rem 0 0.25rem; }
p { margin: 0.25rem 0; }
.soft { color: #57534B; }
.wine, .failed { border-radius: 0.5rem; padding: 0.25rem 0.75rem; }
.wine { background: #FBDD95; }
.failed { background: #F3C6B0; }
svg { display: block; width: 100%; margin: 0.5rem 0; }
svg.swatch { display: inline-block; width: 1rem; height: 1rem;
  margin: 0 0.6rem 0 0; vertical-align: -0.1rem; }
svg text { font-family: inherit; font-size: 21px; fill: #1B1B1B; }
svg .e { text-anchor: end; }
svg .c { text-anchor: middle; }
svg .s { font-size: 18px; fill: #57534B; }
svg .b { font-weight: 700; }
table { border-collapse: collapse; width: 100%; margin-bottom: 0.5rem; }
th { text-align: right; color: #57534B; font-weight: 600;
  border-bottom: 2px solid #1B1B1B; padding: 0.2rem 0.5rem; }
td { text-align: right; border-bottom: 1px solid #B9B4A9;
  padding: 0.2rem 0.5rem; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
code { font-size: 0.95em; overflow-wrap: anywhere; }
td.code { text-align: left; white-space: normal; }
details { margin: 0.5rem 0; }
@media print { section { break-inside: avoid; } body { background: #fff; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def make_page(result):
    parts = [f"<h1>IOCP echo server: measured</h1>{page_about(result)}"]
    for workload in plain_ones(result):
        better = ("more is better" if workload["better"] == "more"
                  else "less is better")
        parts.append(section(
            f"{workload['name']}: {workload['title']}",
            f"{workload['unit']}, {better}", bar_plot(workload),
            html_table(rows(workload)), legend(workload), verdict(workload)))
    if scale_points(result):
        parts.append(section(f"scale: {SCALE_TITLE}",
                             "us of CPU time for each message, less is "
                             "better; flat is good", line_plot(result),
                             html_table(scale_rows(result)), SCALE_LEGEND,
                             scale_verdict(result)))
    if cost_rows(result):
        parts.append(section(f"costs: {COSTS_TITLE}", "less is better", "",
                             html_table(cost_rows(result)), COSTS_LEGEND, ""))
    parts.append(page_servers(result))
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, '
            'initial-scale=1"><meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
            f"<title>IOCP echo server: measured</title><style>{STYLE}</style>"
            "</head>\n<body>" + "\n".join(parts) + "</body></html>\n")


def page_about(result):
    lines = about(result)
    wine = lines.pop() if result["machine"]["wine"] else None
    text = "".join(f'<p class="soft">{html.escape(x)}</p>' for x in lines)
    text += (f'<p class="wine">{html.escape(wine)}</p>' if wine else "")
    text += "".join(f'<p class="failed">Failed: {html.escape(x)}</p>'
                    for x in result["failures"])
    return text + "".join(f'<p class="wine">Not measured: {html.escape(x)}'
                          "</p>" for x in result["notes"])


def page_servers(result):
    lines = "".join(
        f"<tr><td>{swatch(server['kind'])}{html.escape(server['name'])}</td>"
        f'<td class="code"><code>{html.escape(server["command"])}</code></td>'
        "</tr>" for server in result["servers"])
    command = html.escape(result["machine"]["command"])
    return (f"<section><h2>The servers</h2><table>{lines}</table>"
            f'<p class="soft">Measured with <code>{command}</code>. Each '
            "measurement starts its server; a round measures all of them in "
            "turn. The figures are medians over the rounds; "
            "a whisker goes from the least to the most. A ratio is the median "
            "of those within each round.</p></section>")


def swatch(kind):
    """Returns a sample of the colour that this kind has in the plots."""
    return ('<svg class="swatch" viewBox="0 0 20 20" aria-hidden="true"><rect '
            f'width="20" height="20" fill="{FILLS[kind]}"/></svg>')


def section(title, subtitle, plot, tables, words, more):
    more = f'<p class="soft">{html.escape(more)}.</p>' if more else ""
    return (f"<section><h2>{html.escape(title)}</h2>"
            f'<p class="soft">{html.escape(subtitle)}</p>{plot}{more}'
            f"<details open><summary>All figures</summary>{tables}"
            f'<p class="soft">{html.escape(words)}</p></details></section>')


def html_table(lines):
    def cells(line, tag):
        return "".join(f"<{tag}>{html.escape(x)}</{tag}>" for x in line)
    return (f"<table><thead><tr>{cells(lines[0], 'th')}</tr></thead><tbody>"
            + "".join(f"<tr>{cells(line, 'td')}</tr>" for line in lines[1:])
            + "</tbody></table>")


# ----------------------------------- plots ----------------------------------

def svg(height, label, parts):
    return (f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
            f'aria-label="{html.escape(label)}">' + "".join(parts) + "</svg>")


def text(x, y, words, style=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">'
            f"{html.escape(words)}</text>")


def path(d, stroke=INK, width=2, more=""):
    return (f'<path d="{d}" fill="none" stroke="{stroke}" '
            f'stroke-width="{width}"{more}/>')


def ticks(top):
    """Returns some four round values from 0 to about `top`."""
    if top <= 0:
        return [0, 1]
    step = 10 ** math.floor(math.log10(top))
    step = next(step * m for m in (0.1, 0.2, 0.25, 0.5, 1)
                if top / (step * m) <= 5 or m == 1)
    return [step * i for i in range(int(top / step) + 1)]


def axis_end(servers):
    """Returns the end of the axis. It shows our own servers, and others up to
    CUT times as far; longer bars are cut off."""
    own = [r["high"] for r in servers if r["kind"] in ("mode", "step")]
    others = [r["high"] for r in servers if r["kind"] not in ("mode", "step")]
    if not own:
        return max(others) or 1
    near = [high for high in others if high <= CUT * max(own)]
    return max(own + near) or 1


def bar_plot(workload):
    """Draws a bar for each server, with a whisker from least to most."""
    servers = workload["servers"]
    end = axis_end(servers)
    bottom = LANE * len(servers) + 8
    width = WIDTH - LEFT - RIGHT

    def x(value):
        return LEFT + width * min(value / end, 1)
    parts = []
    for tick in ticks(end):
        parts += [path(f"M{x(tick):.1f} 4V{bottom}", LINE, 1),
                  text(x(tick), bottom + 22, f"{tick:,g}", "c s")]
    for i, row in enumerate(servers):
        parts += draw_bar(row, 8 + LANE * i, x, end)
    return svg(bottom + 34, workload["title"], parts)


def draw_bar(row, y, x, end):
    middle, cut = y + LANE / 2 - 4, row["median"] > end
    bold = "b" if row["name"] == "plain" else ""
    parts = [text(LEFT - 14, middle + 7, row["name"], f"e {bold}"),
             f'<rect x="{LEFT}" y="{y}" height="{LANE - 8}" fill="'
             f'{FILLS[row["kind"]]}" width="{x(row["median"]) - LEFT:.1f}"/>']
    if cut:
        at = WIDTH - RIGHT - 40
        for shift in (0, 10):  # two strokes mark the cut
            parts.append(path(f"M{at + shift} {y - 2}l8 {LANE / 3}l-8 "
                              f"{LANE / 4}l8 {LANE / 3}", PAPER, 4))
    else:
        low, high = x(row["low"]), x(row["high"])
        parts.append(path(f"M{low:.1f} {middle - 7}v14m0 -7H{high:.1f}"
                          "m0 -7v14"))
    parts.append(text(WIDTH - RIGHT + 120, middle + 7, figure(row["median"]),
                      f"e {bold}"))
    if row["ratio"] is not None:
        parts.append(text(WIDTH - 10, middle + 7, f"x {row['ratio']:.2f}",
                          f"e {bold}"))
    return parts


def line_plot(result):
    """Draws a message's CPU time over the number of connections, on a
    logarithmic axis."""
    points = {name: [(n, cpu_of_both(row)) for n, row in mine]
              for name, mine in scale_points(result).items()}
    sizes = sorted({n for mine in points.values() for n, _ in mine})
    high = max(cost for mine in points.values() for _, cost in mine) or 1
    top, bottom = 20, 340

    def x(n):
        span = max(math.log10(sizes[-1] / sizes[0]), 1e-9)
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(n / sizes[0]) / span

    def y(cost):
        return bottom - (bottom - top) * cost / high
    parts = []
    for tick in ticks(high):
        parts += [path(f"M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}", LINE, 1),
                  text(LEFT - 14, y(tick) + 6, f"{tick:,g}", "e s")]
    parts += [text(x(n), bottom + 26, f"{n:,}", "c s") for n in sizes]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, bottom + 52, "connections",
                      "c s"))
    for i, (name, mine) in enumerate(points.items()):
        color = SOFT if name == "native" else LINES[i % len(LINES)]
        line = "M" + "L".join(f"{x(n):.1f} {y(cost):.1f}" for n, cost in mine)
        parts.append(path(line, color, 4))
        parts += [f'<circle cx="{x(n):.1f}" cy="{y(cost):.1f}" r="6" '
                  f'fill="{color}"/>' for n, cost in mine]
        at = top + 10 + 30 * i
        parts += [path(f"M{WIDTH - RIGHT + 40} {at}h34", color, 5),
                  text(WIDTH - RIGHT + 84, at + 7, name)]
    return svg(max(bottom + 62, top + 30 * len(points) + 20), SCALE_TITLE,
               parts)
