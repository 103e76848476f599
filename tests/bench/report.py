"""A run of the benchmark as a Markdown table, plots in SVG, and the numbers themselves."""

import json
import os
from statistics import median
from xml.sax.saxutils import escape

COLOURS = {"ceiling": "#9aa0a6", "host, no archive": "#1a73e8", "host": "#174ea6"}
PEER = "#e8a33d"
# What others on the machine took, as a share of all cores' time, from which on a figure is called noisy.
NOISE = 0.05
PLOTS = [
    ("cpu", "cpu_s", "CPU seconds"),
    ("wall", "wall_s", "wall seconds"),
    ("memory", "peak_mib", "peak memory, MiB"),
]


def write(result, folder, command="make bench", base="ceiling"):
    os.makedirs(folder, exist_ok=True)
    # First, since they are what cannot be made again.
    with open(f"{folder}/runs.json", "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    for name, key, title in PLOTS:
        with open(f"{folder}/{name}.svg", "w") as file:
            file.write(plot(result, key, title))
    text = table(result, command, base)
    with open(f"{folder}/README.md", "w") as file:
        file.write(text)
    print(text)


def spread(values, digits):
    middle, low, high = median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def figure(value):
    """Three digits, and never an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def column(rows, key):
    return [row[key] for row in rows]


def ratios(case, program, base, key):
    """Pair by pair: the nth run of a program by the nth run of the one that it is compared with."""
    return [one[key] / other[key] for one, other in zip(case["runs"][program], case["runs"][base])]


def noise(case):
    """Median share of the machine that others had while a program ran."""
    cores = os.cpu_count() or 1
    rows = [row for rows in case["runs"].values() for row in rows]
    return median(row["others_cpu_s"] / (row["wall_s"] * cores) for row in rows) if rows else 0


def table(result, command, base):
    lines = [f"# {result['date']}, {result['machine']}", ""]
    if "versions" in result:
        lines += [*condensed(result), ""]
    lines += [f"Medians (least–greatest). Ratios are to the {base}, pair by pair.", ""]
    lines += ["| case | program | wall s | CPU s | peak MiB | MB of JSON per CPU s | wall ratio | CPU ratio |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
    noisy = []
    for case in result["cases"]:
        mark = ""
        if noise(case) > NOISE:
            mark = " *"
            noisy.append(f"{case['name']}: {noise(case):.0%}")
        most = max(map(len, case["runs"].values()), default=0)
        for program, rows in case["runs"].items():
            speed = [row["json_bytes"] / 1e6 / row["cpu_s"] for row in rows]
            pairs = ["", ""]
            if program != base:
                pairs = [spread(ratios(case, program, base, key), 2) for key in ("wall_s", "cpu_s")]
            fewer = f" ({len(rows)} runs)" if len(rows) < most else ""
            cells = [
                case["name"] + mark,
                program + fewer,
                spread(column(rows, "wall_s"), 3),
                spread(column(rows, "cpu_s"), 3),
            ]
            cells += [
                spread(column(rows, "peak_mib"), 0),
                f"{median(speed):.{0 if median(speed) >= 10 else 1}f}",
                *pairs,
            ]
            lines.append("| " + " | ".join(cells) + " |")
        for program, why in case.get("failed", {}).items():
            lines.append(f"| {case['name'] + mark} | {program} | fails: {why} | | | | | |")
    if noisy:
        lines += ["", f"\\* Noisy: others had this share of the machine meanwhile: {'; '.join(noisy)}."]
    if "help_ms" in result:
        lines += ["", "| what | ms |", "| --- | --- |"]
        for case in result["cases"]:
            for program, rows in case["runs"].items():
                if program != "ceiling" and case["name"].endswith("start to end"):
                    lines.append(
                        f"| time to first request, {program} | {spread(column(rows, 'first_request_ms'), 0)} |"
                    )
        lines.append(f"| `host --help` | {spread(result['help_ms'], 1)} |")
    for name, _, title in PLOTS:
        lines += ["", f"![{title}]({name}.svg)"]
    lines += ["", "## How", ""]
    lines += [f"- {result['processor']}, kernel {result['kernel']}; load at the start {result['load']:.2f}"]
    lines += [f"- {result['host']}, commit {result['commit']}; {result['rustc']}"]
    if "versions" in result:
        lines += ["- " + ", ".join(f"{name} {version}" for name, version in result["versions"].items())]
        lines += ["- how the others are set up: [peers](../../bench/peers/README.md)"]
    lines += [f"- `{command}`, which runs in turns:"]
    for case in result["cases"]:
        runs = max(map(len, case["runs"].values()), default=0)
        served = [row["server_cpu_s"] for rows in case["runs"].values() for row in rows]
        lines += ["", f"{case['name']}; {runs} runs each; the server took {median(served or [0]):.2f} CPU s a run:", ""]
        lines += [f"    {case['server']}", *(f"    {command}" for command in case["commands"].values())]
    return "\n".join(lines) + "\n"


def condensed(result):
    """A row a program and a column a case, medians alone: what a README has room for."""
    names = [case["name"] for case in result["cases"]]
    lines = ["| wall s / CPU s, peak MiB | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for program in result["cases"][0]["commands"]:
        cells = []
        for case in result["cases"]:
            rows = case["runs"].get(program)
            cells.append("fails")
            if rows:
                wall, cpu, peak = (median(column(rows, key)) for key in ("wall_s", "cpu_s", "peak_mib"))
                cells[-1] = f"{figure(wall)} / {figure(cpu)}, {peak:.0f}"
        lines.append("| " + " | ".join([program, *cells]) + " |")
    return lines


def plot(result, key, title):
    """Bars from zero to the median, with a line from the least to the greatest; a scale of its own for each case."""
    left, width, bar, gap, top = 150, 560, 16, 46, 34
    parts, y = [], top
    for case in result["cases"]:
        most = max((row[key] for rows in case["runs"].values() for row in rows), default=0)
        parts.append(f'<text x="8" y="{y + 12}" font-weight="bold">{escape(case["name"])}</text>')
        y += 20
        for program, rows in case["runs"].items():
            values = column(rows, key)
            scale = (width - 110) / most if most else 0
            end, low, high = (left + scale * value for value in (median(values), min(values), max(values)))
            middle = y + bar / 2
            parts.append(f'<text x="{left - 8}" y="{middle + 4}" text-anchor="end">{escape(program)}</text>')
            parts.append(
                f'<rect x="{left}" y="{y}" width="{end - left:.1f}" height="{bar - 3}" fill="{COLOURS.get(program, PEER)}"/>'
            )
            parts.append(f'<path d="M{low:.1f} {middle - 1.5}H{high:.1f}" stroke="#202124" stroke-width="1.5"/>')
            parts.append(f'<text x="{high + 6:.1f}" y="{middle + 4}">{figure(median(values))}</text>')
            y += bar
        y += gap - 20
    head = f'<text x="8" y="18" font-size="15" font-weight="bold">{escape(title)}</text>'
    style = 'font-family="sans-serif" font-size="12" fill="#202124"'
    size = f'width="{left + width}" height="{y}" viewBox="0 0 {left + width} {y}"'
    white = f'<rect width="{left + width}" height="{y}" fill="#ffffff"/>'
    body = "\n".join([white, head, *parts])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{body}\n</svg>\n'
