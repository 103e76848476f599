"""`make bench-peers`: the host beside what else brings an API's data to a file, over the same cases as bench.py.

The programs take turns, as in bench.py. After the first run of each what it wrote is counted: a program that does not
bring every record once stands in the table with what it did instead. How each is set up: peers/README.md.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import bench
import report

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
VENV = f"{HERE}/.venv"
FAUCET = "1.17.0"
# A program whose first run takes longer than this has few runs, the first among them: what that one loads besides is
# little beside its length.
SLOW_S = 15
SLOW_RUNS = 3
TIMEOUT_S = 900
# Nothing leaves the machine, and nothing waits for what cannot be reached.
ENVIRONMENT = os.environ | {"RUNTIME__DLTHUB_TELEMETRY": "false", "DO_NOT_TRACK": "1"}


def fill(template, into, **values):
    """Writes a peer's configuration with the case's values, of which one is JSON, and so YAML, too."""
    with open(f"{HERE}/{template}") as file:
        text = file.read()
    for name, value in values.items():
        text = text.replace(name, value if isinstance(value, str) else json.dumps(value))
    with open(into, "w") as file:
        file.write(text)


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file)


def peers(case, server, folder):
    """Each peer's pipeline of commands for a case, and where which kind of output lies then. None: on standard output."""
    (paging,) = case.pagination
    base_url = server.url.removesuffix("/items")
    out = f"{folder}/out"

    airbyte = {
        "cursor": {
            "type": "DefaultPaginator",
            "page_token_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "cursor"},
            "pagination_strategy": {
                "type": "CursorPagination",
                "cursor_value": "{{ response.get('next') }}",
                "stop_condition": "{{ not response.get('next') }}",
            },
        },
        "offset": {
            "type": "DefaultPaginator",
            "page_token_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "offset"},
            "page_size_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "limit"},
            "pagination_strategy": {"type": "OffsetIncrement", "page_size": 100},
        },
    }
    fill("airbyte.yaml", f"{folder}/airbyte.yaml", BASE_URL=base_url, PAGINATION=airbyte[paging])
    stream = {"name": "items", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
    chosen = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
    write_json(f"{folder}/airbyte-catalog.json", {"streams": [chosen]})
    write_json(f"{folder}/airbyte-config.json", {})

    write_json(f"{folder}/tap.json", {"base_url": base_url, "paging": paging, "large": "--large" in case.server_flags})
    write_json(f"{folder}/target.json", {"destination_path": out, "do_timestamp_file": False})

    faucet = {
        "cursor": {"type": "Cursor", "next_token_path": "$.next", "param_name": "cursor"},
        "offset": {
            "type": "Offset",
            "offset_param": "offset",
            "limit_param": "limit",
            "limit": 100,
            "total_path": "$.total",
        },
    }
    fill("faucet.yaml", f"{folder}/faucet.yaml", BASE_URL=base_url, PAGINATION=faucet[paging], OUT=out)

    plain = f"{VENV}/plain/bin/python"
    dlt = f"{VENV}/dlt/bin/python"
    manifest = [f"{VENV}/airbyte/bin/source-declarative-manifest", "read", "--config", f"{folder}/airbyte-config.json"]
    manifest += ["--catalog", f"{folder}/airbyte-catalog.json", "--manifest-path", f"{folder}/airbyte.yaml"]
    tap = [f"{VENV}/tap/bin/python", f"{HERE}/tap.py", "--config", f"{folder}/tap.json"]
    target = [f"{VENV}/target/bin/target-jsonl", "--config", f"{folder}/target.json"]
    return {
        "faucet": (
            [[f"{VENV}/faucet-{FAUCET}/bin/faucet", "run", f"{folder}/faucet.yaml"]],
            "parquet",
            f"{out}/items.parquet",
        ),
        "curl, DuckDB": (
            [[f"{HERE}/curl_duckdb.sh", plain, server.url, paging, out]],
            "parquet",
            f"{out}/items.parquet",
        ),
        "requests, pandas": (
            [[plain, f"{HERE}/plain.py", server.url, paging, f"{out}/items.parquet"]],
            "parquet",
            f"{out}/items.parquet",
        ),
        "dlt, at its best": (
            [[dlt, f"{HERE}/dlt_best.py", server.url, paging, out]],
            "parquet",
            f"{out}/data/items/*.parquet",
        ),
        "dlt": ([[dlt, f"{HERE}/dlt_default.py", server.url, paging, out]], "parquet", f"{out}/data/items/*.parquet"),
        "Airbyte, unwritten": ([manifest], "airbyte", None),
        "Singer": ([tap, target], "jsonl", f"{out}/items.jsonl"),
    }


def programs(built, case, server, folder):
    host = f"{folder}/out/items/*.parquet"
    outputs = {"ceiling": f"{folder}/out.parquet", "host, no archive": host, "host": host}
    ours = bench.ours(built, case, server, folder)
    return {name: ([ours[name]], "parquet", output) for name, output in outputs.items()} | peers(case, server, folder)


def counted(kind, files):
    command = [f"{VENV}/plain/bin/python", f"{HERE}/count.py", kind, files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise bench.Failed(f"what it wrote cannot be read: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def run_once(pipeline, server, folder, output=subprocess.DEVNULL):
    """One run. What it says besides goes to a file, since a terminal would take time, and is shown if it fails."""
    with open(f"{folder}/log", "w+", errors="replace") as log:
        try:
            return bench.measure(pipeline, server, ENVIRONMENT, output, log, TIMEOUT_S)
        except bench.Failed as error:
            log.seek(0)
            lines = log.read().strip().splitlines()
            print(*lines[-25:], sep="\n", file=sys.stderr)
            raise bench.Failed(f"{error}{': ' if lines else ''}{lines[-1] if lines else ''}") from None


def first_run(pipeline, kind, files, case, server, folder):
    """One run, with what it wrote counted afterwards."""
    said = f"{folder}/stdout"
    with open(said, "w") as output:
        row = run_once(pipeline, server, folder, output)
    count = counted(kind, files or said)
    os.remove(said)
    if count != [case.records, case.records, 1, case.records]:
        raise bench.Failed(f"brought {count[0]:,} records with {count[1]:,} ids of {case.records:,}")
    return row


def run_case(built, case, runs, only):
    server = bench.Server(built, case)
    folder = tempfile.mkdtemp()
    try:
        chosen = programs(built, case, server, folder)
        chosen = {name: program for name, program in chosen.items() if not only or name in only}
        rows, failed, left = {name: [] for name in chosen}, {}, {name: runs for name in chosen}
        json_bytes = None
        for run in range(runs + 1):
            for name, (pipeline, kind, files) in chosen.items():
                if run > 0 and left[name] == 0:
                    continue
                shutil.rmtree(f"{folder}/out", ignore_errors=True)
                os.mkdir(f"{folder}/out")
                try:
                    if run == 0:
                        row = first_run(pipeline, kind, files, case, server, folder)
                    else:
                        row = run_once(pipeline, server, folder)
                except bench.Failed as error:
                    print(f"  {name}: {error}", file=sys.stderr, flush=True)
                    failed[name], left[name] = bench.short([str(error)], built, VENV, HERE, folder), 0
                    continue
                print(f"  {name}: {row['wall_s']:.2f} s", file=sys.stderr, flush=True)
                if name == "host":
                    json_bytes = bench.told(folder)["json_bytes"]
                slow = row["wall_s"] > SLOW_S
                if run == 0 and slow:
                    left[name] = min(runs, SLOW_RUNS)
                # The first round warms the server's pages, caches of compiled code, and the files of each program.
                if run > 0 or slow:
                    rows[name].append(row)
                    left[name] -= 1
        rows = {name: found for name, found in rows.items() if name not in failed}
        for row in (row for found in rows.values() for row in found):
            row["json_bytes"] = json_bytes
        commands = {
            name: " | ".join(bench.short(command, built, VENV, HERE, folder) for command in pipeline)
            for name, (pipeline, _, _) in chosen.items()
        }
        serve = bench.short(server.command, built)
        return {"name": case.name, "server": serve, "commands": commands, "runs": rows, "failed": failed}
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def versions():
    found = {"faucet-cli": FAUCET}
    for name, packages in {
        "dlt": ["dlt", "pyarrow"],
        "airbyte": ["airbyte-cdk"],
        "tap": ["singer-sdk"],
        "target": ["target-jsonl"],
        "plain": ["requests", "pandas", "duckdb"],
    }.items():
        with open(f"{HERE}/requirements/{name}.txt") as file:
            pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", file.read(), re.MULTILINE))
        found |= {package: pinned[package] for package in packages}
    found["curl"] = bench.said("curl", "--version").split()[1]
    found["Python"] = bench.said(f"{VENV}/plain/bin/python", "--version").split()[1]
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("built", help="folder of the programs")
    parser.add_argument("--runs", type=int, default=5, help=f"of those that take longer than {SLOW_S} s: {SLOW_RUNS}")
    parser.add_argument("--case", type=int, action="append", help="only this case, from 0")
    parser.add_argument("--only", action="append", help="only this program, by its name in the table")
    parser.add_argument("--out", help="folder for the results")
    arguments = parser.parse_args()
    built = os.path.abspath(arguments.built)
    result = bench.machine() | {"host": bench.said(f"{built}/host", "--version"), "versions": versions(), "cases": []}
    out = arguments.out or bench.results(result, "-peers")
    for number, case in enumerate(bench.CASES):
        if arguments.case is None or number in arguments.case:
            print(f"{case.name} …", file=sys.stderr, flush=True)
            result["cases"].append(run_case(built, case, arguments.runs, arguments.only))
            # After each, since the whole takes most of an hour.
            report.write(result, out, command="make bench-peers", base="host")


if __name__ == "__main__":
    # So that a run that is stopped takes what it started along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    main()
