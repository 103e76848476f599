"""`make bench`: the host as whole processes against the native ceiling, over the mock API on loopback.

The programs take turns (A B C A B C …), so that whatever else the machine does meets all of them. Writes a table, plots
and the raw numbers to a folder named after the day and the machine.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

import report

CURSOR = {"cursor": {"token": "/next", "param": "cursor"}}
OFFSET = {"offset": {"limit": 100, "trust_total": True}}


class Case(NamedTuple):
    name: str
    records: int
    server_flags: list  # of the mock API, besides the number of records
    pagination: dict  # of the host
    ceiling_flags: list
    cursor_field: str | None = None  # of the host; the ceiling knows of no such thing


CASES = [
    Case("100,000 records of 2 KB, sequential", 100_000, ["--large", "--paging", "cursor"], CURSOR, ["--large"]),
    Case(
        "1,000,000 records of 150 B, sequential", 1_000_000, ["--page-size", "1000", "--paging", "cursor"], CURSOR, []
    ),
    Case(
        "100 pages of 2 KB records, 50 ms each, 8 in flight",
        10_000,
        ["--large", "--paging", "offset", "--total", "body", "--latency-ms", "50"],
        OFFSET,
        ["--large", "--in-flight", "8"],
    ),
    Case(
        "100,000 records of 2 KB, incremental by a date",
        100_000,
        ["--large", "--paging", "cursor"],
        CURSOR,
        ["--large"],
        "updated_at",
    ),
    Case("100 records of 2 KB, start to end", 100, ["--large", "--paging", "cursor"], CURSOR, ["--large"]),
]
LONG = Case(
    "10,000,000 records of 150 B, sequential", 10_000_000, ["--page-size", "1000", "--paging", "cursor"], CURSOR, []
)
PREBUILT_MIB = "600"


class Server:
    """The mock API; its pages stay built, so that from the second reading on it only hands them out."""

    def __init__(self, built, case):
        self.command = [f"{built}/mock-api", "--prebuilt-mib", PREBUILT_MIB, "--records", str(case.records)]
        self.command += case.server_flags
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def runs(self):
        return self.process.poll() is None

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.kill()
        self.process.wait()


def busy():
    """CPU seconds of everything on this machine since it started; what the hypervisor took counts, too."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A program that did not end as it should."""


def measure(pipeline, server, environment=None, output=subprocess.DEVNULL, log=None, timeout_s=900):
    """Runs the commands as a shell's pipeline and adds up what they and their children took.

    The kernel keeps the greatest memory of one process among a command and its children: that of a pipeline is the sum
    over its commands, as if all met their peaks at once.
    """
    before = busy(), server.cpu()
    start = time.monotonic()
    children = []
    alarm = threading.Timer(timeout_s, kill, [children])
    alarm.start()
    try:
        for number, command in enumerate(pipeline, 1):
            child = subprocess.Popen(
                command,
                stdin=children[-1].stdout if children else subprocess.DEVNULL,
                stdout=subprocess.PIPE if number < len(pipeline) else output,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
            if children:
                # Else a command would not learn that the one after it has ended.
                children[-1].stdout.close()
            children.append(child)
        ends = [os.wait4(child.pid, 0) for child in children]
        wall = time.monotonic() - start
    except BaseException:
        # Sessions of their own do not hear of a Ctrl-C.
        kill(children)
        raise
    finally:
        alarm.cancel()
    if not server.runs():
        # What fails then is not the program's doing.
        sys.exit("the mock API has ended")
    for command, child, (_, status, _) in zip(pipeline, children, ends):
        child.returncode = os.waitstatus_to_exitcode(status)
        if status != 0:
            raise Failed(f"{' '.join(command)}: exit code {child.returncode} after {wall:.0f} s")
    user = sum(usage.ru_utime for _, _, usage in ends)
    system = sum(usage.ru_stime for _, _, usage in ends)
    served = server.cpu() - before[1]
    return {
        "wall_s": wall,
        "cpu_s": user + system,
        "user_s": user,
        "system_s": system,
        "peak_mib": sum(usage.ru_maxrss for _, _, usage in ends) / 1024,
        "server_cpu_s": served,
        # Clock ticks are 10 ms, so this can fall a little below zero.
        "others_cpu_s": max(0.0, busy() - before[0] - user - system - served),
    }


def kill(children):
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def ours(built, case, server, folder):
    """The commands of the ceiling and of the host, whose configuration is written to `folder`."""
    stream = {"name": "items", "path": "/items", "records": "/items", "primary_key": ["id"]}
    stream["pagination"] = case.pagination
    if case.cursor_field:
        stream["incremental"] = {"cursor_field": case.cursor_field}
    if "offset" in case.pagination:
        stream["total"] = "/total"
    with open(f"{folder}/config.json", "w") as file:
        json.dump({"base_url": server.url.removesuffix("/items"), "streams": [stream]}, file)
    host = [f"{built}/host", "run", "rest", "--config", f"{folder}/config.json", "--out", f"{folder}/out"]
    host += ["--cache-dir", f"{folder}/cache", "-q"]
    return {
        "ceiling": [f"{built}/ceiling", server.url, f"{folder}/out.parquet", *case.ceiling_flags],
        "host, no archive": [*host, "--no-archive"],
        "host": host,
    }


def told(folder):
    """What the host's report of its only run in `folder` says."""
    (run,) = os.listdir(f"{folder}/out/_runs")
    with open(f"{folder}/out/_runs/{run}/report.json") as file:
        report = json.load(file)
    return {
        "first_request_ms": report["first_request_ms"],
        "json_bytes": sum(stream["traffic"]["received_bytes"] for stream in report["streams"]),
    }


def run_case(built, case, runs):
    server = Server(built, case)
    folder = tempfile.mkdtemp()
    try:
        programs = ours(built, case, server, folder)
        rows = {program: [] for program in programs}
        for run in range(runs + 1):
            for program, command in programs.items():
                shutil.rmtree(f"{folder}/out", ignore_errors=True)
                row = measure([command], server)
                if program != "ceiling":
                    row |= told(folder)
                # The first round warms the server's pages and the cache of compiled code.
                if run > 0:
                    rows[program].append(row)
        for row in rows["ceiling"]:
            row["json_bytes"] = rows["host"][0]["json_bytes"]
        commands = {program: short(command, built, folder) for program, command in programs.items()}
        return {"name": case.name, "server": short(server.command, built), "commands": commands, "runs": rows}
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def short(command, *folders):
    text = " ".join(command)
    for folder in folders:
        text = text.replace(f"{folder}/", "")
    return text


def help_ms(built, runs=21):
    times = []
    for _ in range(runs):
        start = time.monotonic()
        subprocess.run([f"{built}/host", "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append((time.monotonic() - start) * 1000)
    return times


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    changed = said("git", "status", "--porcelain", "--untracked-files=no")
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()}core-{platform.machine()}",
        "processor": models[0] if models else "unknown",
        "kernel": platform.release(),
        "rustc": said("rustc", "--version"),
        "commit": said("git", "rev-parse", "--short=12", "HEAD") + (", with changes" if changed else ""),
        "load": os.getloadavg()[0],
    }


def results(result, ending=""):
    """Where the results go if nothing else is said."""
    beside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.join(beside, "bench-runs", f"{result['date']}-{result['machine']}{ending}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("built", help="folder of the programs")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--long", action="store_true", help="also 10,000,000 records, for the peak of memory")
    parser.add_argument("--case", type=int, action="append", help="only this case, from 0")
    parser.add_argument("--out", help="folder for the results")
    arguments = parser.parse_args()
    built = os.path.abspath(arguments.built)
    result = machine() | {"host": said(f"{built}/host", "--version"), "cases": []}
    # The long one is there for its memory, which does not vary: one round.
    cases = [(one, arguments.runs) for one in CASES] + ([(LONG, 1)] if arguments.long else [])
    for number, (one, runs) in enumerate(cases):
        if arguments.case is None or number in arguments.case:
            print(f"{one.name} …", file=sys.stderr, flush=True)
            result["cases"].append(run_case(built, one, runs))
    result["help_ms"] = help_ms(built)
    report.write(result, arguments.out or results(result))


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(str(error))
