"""`make bench`: the host as whole processes against the native ceiling, over the mock API on loopback.

The programs take turns (A B C A B C …), so that whatever else the machine does meets all of them. Writes a table, plots
and the raw numbers to a folder named after the day and the machine.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import report

CURSOR = {"cursor": {"token": "/next", "param": "cursor"}}
OFFSET = {"offset": {"limit": 100, "trust_total": True}}

# name, flags of the mock API, pagination for the host, flags of the ceiling
CASES = [
    (
        "100,000 records of 2 KB, sequential",
        ["--records", "100000", "--large", "--paging", "cursor"],
        CURSOR,
        ["--large"],
    ),
    (
        "1,000,000 records of 150 B, sequential",
        ["--records", "1000000", "--page-size", "1000", "--paging", "cursor"],
        CURSOR,
        [],
    ),
    (
        "100 pages of 2 KB records, 50 ms each, 8 in flight",
        ["--records", "10000", "--large", "--paging", "offset", "--total", "body", "--latency-ms", "50"],
        OFFSET,
        ["--large", "--in-flight", "8"],
    ),
    ("100 records of 2 KB, start to end", ["--records", "100", "--large", "--paging", "cursor"], CURSOR, ["--large"]),
]
LONG = (
    "10,000,000 records of 150 B, sequential",
    ["--records", "10000000", "--page-size", "1000", "--paging", "cursor"],
    CURSOR,
    [],
)
PREBUILT_MIB = "600"


class Server:
    """The mock API; its pages stay built, so that from the second reading on it only hands them out."""

    def __init__(self, built, flags):
        command = [f"{built}/mock-api", "--prebuilt-mib", PREBUILT_MIB, *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

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


def measure(command, server):
    before = busy(), server.cpu()
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    if status != 0:
        sys.exit(f"{' '.join(command)}: status {status}")
    cpu = usage.ru_utime + usage.ru_stime
    served = server.cpu() - before[1]
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "user_s": usage.ru_utime,
        "system_s": usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "server_cpu_s": served,
        # Clock ticks are 10 ms, so this can fall a little below zero.
        "others_cpu_s": max(0.0, busy() - before[0] - cpu - served),
    }


def case(built, case, runs):
    name, server_flags, pagination, ceiling_flags = case
    server = Server(built, server_flags)
    folder = tempfile.mkdtemp()
    try:
        stream = {"name": "items", "path": "/items", "records": "/items", "primary_key": ["id"], "pagination": pagination}
        if "offset" in pagination:
            stream["total"] = "/total"
        with open(f"{folder}/config.json", "w") as file:
            json.dump({"base_url": server.url.removesuffix("/items"), "streams": [stream]}, file)
        out = f"{folder}/out"
        host = [f"{built}/host", "run", "rest", "--config", f"{folder}/config.json", "--out", out]
        host += ["--cache-dir", f"{folder}/cache", "-q"]
        programs = {
            "ceiling": [f"{built}/ceiling", server.url, f"{folder}/out.parquet", *ceiling_flags],
            "host, no archive": [*host, "--no-archive"],
            "host": host,
        }
        rows = {program: [] for program in programs}
        for run in range(runs + 1):
            for program, command in programs.items():
                shutil.rmtree(out, ignore_errors=True)
                row = measure(command, server)
                if program != "ceiling":
                    (run_folder,) = os.listdir(f"{out}/_runs")
                    with open(f"{out}/_runs/{run_folder}/report.json") as file:
                        told = json.load(file)
                    row["first_request_ms"] = told["first_request_ms"]
                    row["json_bytes"] = sum(stream["traffic"]["received_bytes"] for stream in told["streams"])
                # The first round warms the server's pages and the cache of compiled code.
                if run > 0:
                    rows[program].append(row)
        for row in rows["ceiling"]:
            row["json_bytes"] = rows["host"][0]["json_bytes"]
        commands = {program: short(command, built, folder) for program, command in programs.items()}
        serve = short(["mock-api", "--prebuilt-mib", PREBUILT_MIB, *server_flags], built, folder)
        return {"name": name, "server": serve, "commands": commands, "runs": rows}
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def short(command, built, folder):
    return " ".join(command).replace(f"{built}/", "").replace(f"{folder}/", "")


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
            print(f"{one[0]} …", file=sys.stderr, flush=True)
            result["cases"].append(case(built, one, runs))
    result["help_ms"] = help_ms(built)
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench-runs")
    out = arguments.out or os.path.join(default, f"{result['date']}-{result['machine']}")
    report.write(result, os.path.normpath(out))


if __name__ == "__main__":
    main()
