"""`make bench-check`: instructions of the host's hot parts, counted by callgrind and compared with those on record.

Instructions do not depend on what else the machine does, so a few percent can be told apart where seconds cannot. They do
depend on the compiler: with another one than on record there is nothing to compare with, and that is said. Where callgrind
is not installed, nothing is checked, which is said too.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")
# More than this on top of what is on record fails.
ALLOWED = 0.03

# A part is functions with all that they call.
PARTS = {
    "decode records": [
        "host::record::ahead::Ahead::read",
        "host::record::table::Table::append",
        "host::record::table::Table::adopt",
    ],
    "encode Parquet": ["host::sink::parquet::Open::write"],
    "compare keys": ["host::run::keys::Keys::duplicates"],
}
# name, flags of the mock API, records
CASES = [
    ("2 KB records", ["--large"], 10_000),
    ("150 B records", ["--page-size", "1000"], 50_000),
]


def count(built, flags, records, folder):
    """Instructions of each part in one run, a record."""
    command = [f"{built}/mock-api", "--prebuilt-mib", "100", "--paging", "cursor", "--records", str(records), *flags]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        stream = {"name": "items", "path": "/items", "records": "/items", "primary_key": ["id"]}
        stream["pagination"] = {"cursor": {"token": "/next", "param": "cursor"}}
        with open(f"{folder}/config.json", "w") as file:
            json.dump({"base_url": url.removesuffix("/items"), "streams": [stream]}, file)
        shutil.rmtree(f"{folder}/out", ignore_errors=True)
        profile = f"{folder}/profile"
        run = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", f"{built}/host", "run", "rest"]
        run += ["--config", f"{folder}/config.json", "--out", f"{folder}/out", "--cache-dir", f"{folder}/cache", "-q"]
        run += ["--no-archive"]
        subprocess.run(run, check=True, capture_output=True)
    finally:
        server.kill()
        server.wait()
    annotate = ["callgrind_annotate", "--inclusive=yes", "--auto=no", "--threshold=100", profile]
    text = subprocess.run(annotate, check=True, capture_output=True, text=True).stdout
    counts = {}
    for part, functions in PARTS.items():
        counts[part] = sum(instructions(text, function) for function in functions) / records
    return counts


def least(built, flags, records, folder, before):
    """The least of up to three counts, as many as it takes to stay within what is on record.

    How many tables of pages are made hangs on how far the reading is ahead of the writing, which is a matter of time.
    """
    found = {}
    for _ in range(3):
        for part, value in count(built, flags, records, folder).items():
            found[part] = min(value, found.get(part, value))
        if before and all(value <= before.get(part, value) * (1 + ALLOWED) for part, value in found.items()):
            break
    return found


def instructions(text, function):
    # The same function is listed once for each file that its code was inlined from; the whole is the greatest.
    rows = re.findall(rf"^\s*([\d,]+) \([^)]*\)\s+\S*?:{re.escape(function)}(?: \[|$)", text, re.MULTILINE)
    if not rows:
        sys.exit(f"callgrind does not list {function}: say in {os.path.basename(__file__)} what it is called now")
    return max(int(row.replace(",", "")) for row in rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("built", help="folder of the programs")
    parser.add_argument("--record", action="store_true", help="put what is counted on record")
    arguments = parser.parse_args()
    if not shutil.which("valgrind"):
        print("bench-check: valgrind is not installed, so no instructions are counted")
        return
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    known = {}
    if not arguments.record:
        with open(RECORD) as file:
            known = json.load(file)
        if known["rustc"] != rustc:
            print(f"bench-check: on record are the instructions of {known['rustc']}, and this is {rustc}")
            return
    found = {"rustc": rustc, "instructions": {}}
    worse = []
    with tempfile.TemporaryDirectory() as folder:
        for name, flags, records in CASES:
            before = known.get("instructions", {}).get(name, {})
            counts = least(os.path.abspath(arguments.built), flags, records, folder, before)
            found["instructions"][name] = {part: round(value, 1) for part, value in counts.items()}
            for part, value in counts.items():
                was = before.get(part, value)
                print(f"{name:14} {part:18} {value:9.1f} instructions a record, {value / was - 1:+.1%}")
                if value > was * (1 + ALLOWED):
                    worse.append(f"{part} ({name}): {value:.1f} instructions a record, {was:.1f} on record")
    if arguments.record:
        with open(RECORD, "w") as file:
            json.dump(found, file, indent=1)
            file.write("\n")
    if worse:
        print("these parts take over 3 % more than on record; if that is meant, `make bench-check BENCH=--record`:")
        sys.exit("\n".join(worse))


if __name__ == "__main__":
    main()
