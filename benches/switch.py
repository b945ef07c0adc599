#!/usr/bin/env python3
"""Measures the pause of the switch as the application sees it: how long its longest write takes while the writes move, under a steady load.

An application asks `/v1/routing` where it writes, writes at a steady rate, and notes when each write was acknowledged. The pause of a crossing is
the longest gap between two acknowledgements around it. Each round goes to PostgreSQL and back. Prints a table and, with --write, keeps it in
docs/BENCHMARKS.md. It starts a private PostgreSQL and the daemon itself, and stops them by their own process ids. Nothing here is asserted.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import threading
import time
import urllib.error

sys.dont_write_bytecode = True
import bench
import follow

SCHEMA = """
create table event (id integer primary key, made integer not null, kind integer not null, name text not null);
create table other (id integer primary key autoincrement, event_id integer references event (id), note text);
"""
FILL = "with recursive n (i) as (select 1 union all select i + 1 from n where i < ?) insert into event select i, 0, i % 1000, 'name of an event' from n"


class Application(threading.Thread):
    """Obeys the routing; every write that was acknowledged, with when and where."""

    def __init__(self, daemon, path, cluster, database, rate, first):
        super().__init__(daemon=True)
        self.ask, self.path, self.place, self.rate, self.next = daemon, path, (cluster, database), rate, first
        self.acknowledged, self.closing = [], False

    def routing(self):
        try:
            return json.loads(self.ask.get("/v1/routing"))["writes"]
        except (urllib.error.URLError, OSError):
            return "paused"

    def run(self):
        db = follow.sqlite(self.path)
        session = follow.Postgres(*self.place)
        writes, asked, start, count = self.routing(), time.monotonic(), time.monotonic(), 0
        while not self.closing:
            ahead = start + count / self.rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            else:
                # What could not be written in time is not made up for.
                start = time.monotonic() - count / self.rate
            if writes == "paused" or time.monotonic() - asked > 1:
                writes, asked = self.routing(), time.monotonic()
            row = (self.next, time.time_ns(), self.next % 1000)
            try:
                if writes == "sqlite":
                    db.execute("insert into event values (?, ?, ?, 'name of an event')", row)
                elif writes == "postgres":
                    self.insert(session, row)
                else:
                    time.sleep(0.001)
                    continue
            except Exception:
                # The side has closed: whoever knows where to write now is asked.
                writes, asked = self.routing(), time.monotonic()
                continue
            self.acknowledged.append((time.monotonic(), self.next))
            self.next += 1
            count += 1

    @staticmethod
    def insert(session, row):
        result = follow.ctypes.c_void_p(session.libpq.PQexec(session.session, f"insert into event values ({row[0]}, {row[1]}, {row[2]}, 'name of an event')".encode()))
        good = session.libpq.PQresultStatus(result) == 1
        session.libpq.PQclear(result)
        if not good:
            raise RuntimeError("refused")


def crossing(operator, application, to):
    """Milliseconds: the longest gap between two acknowledgements, what the daemon foretold, and what it measured."""
    gate = "rollback" if to == "dual-write" else to
    foretold = operator.daemon.until(lambda found: found["gates"][gate]["open"])["pause"]["expected_seconds"] or 0
    began = time.monotonic()
    operator.lead(to)
    operator.daemon.until(lambda found: found["phase"] == to and found["run"]["state"] == "running")
    ended = time.monotonic()
    while application.acknowledged[-1][0] < ended + 0.2:
        time.sleep(0.01)
    times = [at for at, _ in application.acknowledged if began - 0.5 < at < ended + 0.2]
    measured = operator.daemon.status()["pause"]["measured_seconds"] or 0
    return max(later - earlier for earlier, later in zip(times, times[1:])) * 1e3, foretold * 1e3, measured * 1e3


def measure(binary, cluster, folder, arguments):
    source = folder / "app.db"
    db = follow.sqlite(source, SCHEMA)
    db.execute(FILL, (arguments.rows,))
    db.close()
    url = cluster.fresh("crossed")
    daemon = follow.Daemon(binary, source, url, folder, arguments.port)
    try:
        daemon.follows()
        operator = follow.Operator(daemon, (folder / "token").read_text().strip())
        application = Application(daemon, source, cluster, "crossed", arguments.rate, arguments.rows + 1)
        application.start()
        time.sleep(1)
        there, back = [], []
        for _ in range(arguments.crossings):
            operator.validated()
            there.append(crossing(operator, application, "switch"))
            back.append(crossing(operator, application, "dual-write"))
        operator.validated()
        crossing(operator, application, "switch")
        application.closing = True
        application.join()
        held = int(cluster.sql("select count(*) from event", "crossed").strip())
        lost = arguments.rows + len(application.acknowledged) - held
        return there, back, len(application.acknowledged), lost
    finally:
        daemon.stop()


def table(there, back, written, lost, arguments):
    # By nearest rank, so that nothing is told that was not measured: of fifty it is the longest.
    p99 = lambda values: sorted(values)[math.ceil(0.99 * len(values)) - 1]
    line = lambda what, values: f"| {what} | {statistics.median(values):.0f} | {p99(values):.0f} | {max(values):.0f} |"
    lines = [
        f"{arguments.crossings} switches and as many rollbacks under {arguments.rate} writes a second, {arguments.rows:,} rows; {written:,} writes were acknowledged, {lost} of them lost.",
        "",
        "| milliseconds | median | p99 | longest |",
        "| --- | --- | --- | --- |",
        line("switch: the application's longest gap between two acknowledged writes", [one[0] for one in there]),
        line("switch: the pause that the daemon measured", [one[2] for one in there]),
        line("switch: the pause that was foretold", [one[1] for one in there]),
        line("rollback: the application's longest gap", [one[0] for one in back]),
        line("rollback: the pause that the daemon measured", [one[2] for one in back]),
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crossings", type=int, default=50)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--port", type=int, default=18476)
    parser.add_argument("--binary", type=pathlib.Path, default=bench.HERE / "target" / "release" / "liteferry")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="liteferry-switch-") as name:
        folder = pathlib.Path(name)
        os.chmod(folder, 0o755)
        (folder / "postgres").mkdir()
        cluster = bench.Cluster(folder / "postgres")
        try:
            found = table(*measure(arguments.binary, cluster, folder, arguments), arguments)
        finally:
            cluster.stop()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    machine = f"{os.cpu_count()} cores, {memory} GiB, {platform.system()} {platform.machine()}, PostgreSQL {bench.server_programs().parent.name}"
    print(f"{machine}\n{found}")
    if arguments.write:
        bench.keep("switched", f"{machine}; {time.strftime('%Y-%m-%d')}; `make bench-switch`\n\n{found}")


if __name__ == "__main__":
    main()
