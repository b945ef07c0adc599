#!/usr/bin/env python3
"""Measures `liteferry copy` beside `psql \\copy` of a ready binary file, pgloader and ADBC, in one run on one machine.

Prints a table with ratios and, with --write, keeps it in docs/BENCHMARKS.md. With --largest-row it measures instead how much memory a
table takes whose largest row is of that many million bytes. It starts a private PostgreSQL and stops it by its own
process id. Nothing here is asserted: a figure is a figure.
"""

import argparse
import json
import os
import pathlib
import platform
import pwd
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent.parent
MIXED = """
create table mixed (
    id integer primary key, name text not null, amount decimal(12, 2), score real, active boolean not null,
    placed datetime not null, note text, raw blob, kind integer not null);
create index mixed_name on mixed (name);
create index mixed_placed on mixed (placed, kind);
create index mixed_kind on mixed (kind);
"""
FILL = """
insert into mixed with recursive n (i) as (select 1 union all select i + 1 from n where i < ?)
select i, printf('name %08x', i * 2654435761 % 4294967296), (i * 7919 % 1000000) / 100.0, i / 7.0, i % 3 = 0,
       datetime(1600000000 + i, 'unixepoch'), case i % 4 when 0 then null else substr('lorem ipsum dolor sit amet consectetur adipiscing', 1 + i % 20) end,
       case i % 5 when 0 then randomblob(24) end, i % 1000
from n;
"""


def server_programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    return pathlib.Path(initdb).parent if initdb else sys.exit("PostgreSQL's server programs are not here: run deploy/prepare.sh")


class Cluster:
    """A private server, on a socket of its own, run by an unprivileged user."""

    def __init__(self, folder, settings=()):
        self.folder, self.programs = folder, server_programs()
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(folder, self.user)
        os.chmod(folder, 0o755)
        self.run("initdb", "-D", folder / "data", "-A", "trust", "-U", "bench", "-E", "UTF8", "--locale=C.UTF-8")
        settings = ["listen_addresses=", f"unix_socket_directories={folder}", "shared_buffers=512MB", "max_wal_size=8GB", *settings]
        command = [self.programs / "postgres", "-D", folder / "data"] + [part for one in settings for part in ("-c", one)]
        self.process = subprocess.Popen(self.as_user(command), stdout=open(folder / "log", "w"), stderr=subprocess.STDOUT)
        for _ in range(200):
            if subprocess.run(["psql", "-h", folder, "-U", "bench", "postgres", "-c", ""], capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        sys.exit(f"the private server did not start: see {folder}/log")

    def as_user(self, command):
        command = [str(part) for part in command]
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"] + command if os.geteuid() == 0 else command

    def run(self, program, *arguments):
        subprocess.run(self.as_user([self.programs / program, *arguments]), check=True, stdout=subprocess.DEVNULL)

    def sql(self, text, database="postgres"):
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-U", "bench", database, "-Atc", text]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def fresh(self, name):
        self.sql(f"drop database if exists {name} with (force)")
        self.sql(f"create database {name} template template0")
        return f"postgres:///{name}?host={self.folder}&user=bench"

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)


def timed(command, **more):
    """Seconds and peak memory (MiB) of a whole process."""
    started = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], **more)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def liteferry(cluster, source, folder, binary):
    url = cluster.fresh("ours")
    report = folder / "report.json"
    seconds, memory = timed([binary, "copy", "--source", source, "--target", url, "--report", report], stdout=subprocess.DEVNULL)
    phases = json.loads(report.read_text())["seconds"]
    return seconds, memory, phases


def psql_copy(cluster, folder):
    """The yardstick: the same rows from a ready file into the same table, then the same indexes."""
    cluster.fresh("yardstick")
    definitions = cluster.sql("select pg_get_indexdef(indexrelid) || ';' from pg_index where indrelid = 'mixed'::regclass", "ours")
    dump = subprocess.run([cluster.programs / "pg_dump", "-h", str(cluster.folder), "-U", "bench", "-s", "-t", "mixed", "--section=pre-data", "ours"], check=True, capture_output=True, text=True).stdout
    subprocess.run(["psql", "-X", "-q", "-h", str(cluster.folder), "-U", "bench", "yardstick"], input=dump, text=True, check=True)
    script = f"\\copy mixed from '{folder}/rows.bin' (format binary)\n"
    started = time.monotonic()
    subprocess.run(["psql", "-X", "-q", "-h", str(cluster.folder), "-U", "bench", "yardstick"], input=script, text=True, check=True)
    loaded = time.monotonic() - started
    subprocess.run(["psql", "-X", "-q", "-h", str(cluster.folder), "-U", "bench", "yardstick"], input=definitions, text=True, check=True)
    return loaded, time.monotonic() - started


def pgloader(cluster, source, folder):
    if not shutil.which("pgloader"):
        return None
    cluster.fresh("loader")
    script = folder / "load.cmd"
    script.write_text(f"load database from sqlite://{source} into postgresql://bench@unix:{cluster.folder}:5432/loader;")
    return timed(["pgloader", script], stdout=subprocess.DEVNULL)


def adbc(cluster, source, url):
    script = f"""
import adbc_driver_sqlite.dbapi as s, adbc_driver_postgresql.dbapi as p
with s.connect({str(source)!r}) as a, p.connect({url!r}) as b:
    with a.cursor() as read, b.cursor() as write:
        read.execute('select * from mixed')
        write.adbc_ingest('mixed', read.fetch_record_batch(), mode='create')
        b.commit()
"""
    probe = subprocess.run([sys.executable, "-c", "import adbc_driver_sqlite, adbc_driver_postgresql, pyarrow"], capture_output=True)
    return timed([sys.executable, "-c", script]) if probe.returncode == 0 else None


def read_both(cluster, source):
    started = time.monotonic()
    for _ in sqlite3.connect(source).execute("select * from mixed"):
        pass
    python = time.monotonic() - started
    started = time.monotonic()
    subprocess.run(["sqlite3", source, "-cmd", ".output /dev/null", "select * from mixed"], check=True)
    shell = time.monotonic() - started
    started = time.monotonic()
    cluster.sql("copy mixed to '/dev/null' (format binary)", "ours")
    return min(python, shell), time.monotonic() - started


def median(rows):
    return statistics.median(rows)


def measure(folder, arguments):
    source = folder / "mixed.db"
    db = sqlite3.connect(source)
    db.executescript("pragma journal_mode = wal;" + MIXED)
    db.execute(FILL, (arguments.rows,))
    db.commit()
    db.close()
    binary = HERE / "target/release/liteferry"
    cluster = Cluster(folder / "pg") if (folder / "pg").mkdir() is None else None
    try:
        liteferry(cluster, source, folder, binary)
        os.chmod(folder, 0o777)
        cluster.sql(f"copy mixed to '{folder}/rows.bin' (format binary)", "ours")
        rounds = []
        for _ in range(arguments.rounds):
            loaded, yardstick = psql_copy(cluster, folder)
            seconds, memory, phases = liteferry(cluster, source, folder, binary)
            sqlite_read, postgres_read = read_both(cluster, source)
            rounds.append((loaded, yardstick, seconds, memory, phases, sqlite_read + postgres_read))
        return rounds, pgloader(cluster, source, folder), adbc(cluster, source, cluster.fresh("arrow"))
    finally:
        cluster.stop()


def table(rounds, loader, arrow, arguments):
    middle = lambda pick: median([pick(one) for one in rounds])
    loaded, yardstick, total, memory, reading = (middle(lambda one, at=at: one[at]) for at in (0, 1, 2, 3, 5))
    phase = {name: middle(lambda one, name=name: one[4][name]) for name in rounds[0][4]}
    backfill = middle(lambda one: (one[4]["load"] + one[4]["index"]) / one[1])
    proof = middle(lambda one: one[4]["validate"] / one[5])
    lines = [
        f"{arguments.rows:,} rows, nine columns, three indexes and the key; medians of {arguments.rounds} rounds.", "",
        "| work | seconds | ratio | peak memory |", "| --- | --- | --- | --- |",
        f"| `psql \\copy … (format binary)` from a ready file, then the same indexes | {loaded:.2f} + {yardstick - loaded:.2f} | 1 | |",
        f"| `liteferry copy`: load + index | {phase['load']:.2f} + {phase['index']:.2f} | {backfill:.2f} | {memory:.0f} MiB |",
        f"| `liteferry copy`: survey and plan; tables; sequences and `analyze` | {phase['plan']:.2f}; {phase['setup']:.2f}; {phase['settle']:.2f} | | |",
        f"| reading both sides once | {reading:.2f} | 1 | |",
        f"| `liteferry copy`: validate | {phase['validate']:.2f} | {proof:.2f} | |",
        f"| `liteferry copy`, whole | {total:.2f} | {total / yardstick:.2f} × psql | {memory:.0f} MiB |",
    ]
    for name, figure in (("pgloader", loader), ("ADBC (no indexes, no proof)", arrow)):
        lines.append(f"| {name} | {figure[0]:.2f} | {figure[0] / (phase['load'] + phase['index']):.2f} × load + index, {figure[0] / total:.2f} × the whole | {figure[1]:.0f} MiB |" if figure else f"| {name} | not installed | | |")
    return "\n".join(lines)


def largest_row(folder, arguments):
    """Peak memory of each command over a table with one row of that size among small ones."""
    source = folder / "large.db"
    db = sqlite3.connect(source)
    db.executescript("pragma journal_mode = wal; create table large (id integer primary key, name text not null, body blob)")
    size = arguments.largest_row * 1_000_000
    db.execute("insert into large with recursive n (i) as (select 1 union all select i + 1 from n where i < 1000) select i, 'name ' || i, zeroblob(100) from n")
    db.execute("update large set body = randomblob(?) where id = 500", (size,))
    db.commit()
    db.close()
    binary = HERE / "target/release/liteferry"
    cluster = Cluster(folder / "pg") if (folder / "pg").mkdir() is None else None
    try:
        url = cluster.fresh("ours")
        lines = ["| work | seconds | peak memory | of the row |", "| --- | --- | --- | --- |"]
        for word in ("check", "copy", "validate"):
            seconds, memory = timed([binary, word, "--source", source, "--target", url], stdout=subprocess.DEVNULL)
            lines.append(f"| `liteferry {word}` | {seconds:.2f} | {memory:.0f} MiB | {memory * 2**20 / size:.2f} × |")
        return f"One row of {size:,} bytes among 999 small ones.\n\n" + "\n".join(lines)
    finally:
        cluster.stop()


def keep(mark, text):
    """Puts text between the two marks of that name in docs/BENCHMARKS.md."""
    page = HERE / "docs/BENCHMARKS.md"
    start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, _, rest = page.read_text().partition(start)
    page.write_text(f"{before}{start}\n{text}\n{end}{rest.partition(end)[2]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--largest-row", type=int, metavar="MB", help="measure the memory that a row of so many million bytes takes, and nothing else")
    parser.add_argument("--write", action="store_true", help="keep the table in docs/BENCHMARKS.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="liteferry-bench-") as folder:
        os.chmod(folder, 0o755)
        folder = pathlib.Path(folder)
        text = largest_row(folder, arguments) if arguments.largest_row else table(*measure(folder, arguments), arguments)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    machine = f"{os.cpu_count()} cores, {memory} GiB, {platform.system()} {platform.machine()}, PostgreSQL {server_programs().parent.name}"
    print(f"{machine}\n\n{text}")
    mark, command = "measured", "make bench"
    if arguments.largest_row:
        mark, command = "largest row", f"benches/bench.py --largest-row {arguments.largest_row} --write"
    if arguments.write:
        keep(mark, f"{machine}; {time.strftime('%Y-%m-%d')}; `{command}`\n\n{text}")


if __name__ == "__main__":
    main()
