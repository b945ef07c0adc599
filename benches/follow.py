#!/usr/bin/env python3
"""Measures `liteferry run`: its lag both ways beside PostgreSQL's own logical replication, what capture costs the application, and the
backlog.

Prints a table with ratios and, with --write, keeps it in docs/BENCHMARKS.md. It starts two private PostgreSQL servers and every daemon
itself, and stops them by their own process ids. Nothing here is asserted: a figure is a figure.

Lag is taken the same way on all sides, by one clock: a writer notes when each commit returned to it, and a reader that asks the target
for its newest row again and again notes when that row was first to be seen. The reader's pace is the finest that can be told apart.
"""

import argparse
import collections
import contextlib
import ctypes
import ctypes.util
import json
import multiprocessing
import os
import pathlib
import platform
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import typing
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
import bench

HERE = bench.HERE
EVENT = "create table event (id integer primary key, made integer not null, kind integer not null, name text not null);"
# Rows that are there before the lag is taken: a table in use is not empty.
SEED = 100_000
SEED_EVENT = f"with recursive n (i) as (select 1 union all select i + 1 from n where i < {SEED}) insert into event select i, 0, i % 1000, 'name of an event' from n;"
WIDE = """
create table wide (
    id integer primary key, name text not null, amount real, active integer not null, placed text not null, note text, kind integer not null,
    changed integer not null);
create index wide_kind on wide (kind);
"""
FILL_WIDE = """
insert into wide with recursive n (i) as (select 1 union all select i + 1 from n where i < ?)
select i, printf('name %08x', i * 2654435761 % 4294967296), i / 7.0, i % 2, datetime(1600000000 + i, 'unixepoch'),
       substr('lorem ipsum dolor sit amet consectetur adipiscing', 1 + i % 20), i % 1000, 0
from n;
"""
INSERT_WIDE = "insert into wide (name, amount, active, placed, note, kind, changed) values ('name of a row', ?, 1, '2020-09-13 12:26:40', 'lorem ipsum dolor', ?, 0)"
UPDATE_WIDE = "update wide set amount = amount + ?, changed = changed + 1 where id = ?"
UPDATE_AT_HAND = """
update wide set name = new.name, amount = new.amount, active = new.active, placed = new.placed, note = new.note, kind = new.kind, changed = new.changed
from at_hand as new where new.id = wide.id"""
BIG = "create table big (id integer primary key, name text not null, note text not null, changed integer not null);"
# A thousand bytes a row.
FILL_BIG = "with recursive n (i) as (select ? union all select i + 1 from n where i < ?) insert into big select i, printf('name %08x', i), hex(randomblob(470)), 0 from n"
PACE_OF_READER = 0.0002
READER_GIVES_UP = 120


class Postgres:
    """A session, through libpq, which psql itself brings along."""

    def __init__(self, cluster, database):
        self.libpq = ctypes.CDLL(ctypes.util.find_library("pq") or sys.exit("libpq is not here: run deploy/prepare.sh"))
        for name in ("PQconnectdb", "PQexec"):
            getattr(self.libpq, name).restype = ctypes.c_void_p
        for name in ("PQgetvalue", "PQerrorMessage"):
            getattr(self.libpq, name).restype = ctypes.c_char_p
        self.session = ctypes.c_void_p(self.libpq.PQconnectdb(f"host={cluster.folder} user=bench dbname={database}".encode()))

    def ask(self, text):
        """The first column of the first row, or nothing."""
        result = ctypes.c_void_p(self.libpq.PQexec(self.session, text.encode()))
        try:
            if self.libpq.PQresultStatus(result) not in (1, 2):
                sys.exit(f"failed: {text}: {self.libpq.PQerrorMessage(self.session).decode()}")
            return self.libpq.PQgetvalue(result, 0, 0) if self.libpq.PQntuples(result) else None
        finally:
            self.libpq.PQclear(result)


class Daemon:
    """`liteferry run`, asked by its own listener how far it is."""

    def __init__(self, binary, source, url, folder, port):
        self.base = f"http://127.0.0.1:{port}"
        settings = [f"http.listen=127.0.0.1:{port}", f"http.token_file={folder}/token", "validate.on=false", "backfill.workers=2"]
        command = [binary, "run", "--source", source, "--target", url] + [part for one in settings for part in ("--set", one)]
        self.log = folder / "daemon.log"
        self.process = subprocess.Popen([str(part) for part in command], stdout=open(self.log, "a"), stderr=subprocess.STDOUT)

    def get(self, path):
        with urllib.request.urlopen(self.base + path, timeout=10) as answer:
            return answer.read().decode()

    def status(self):
        """Nothing while it does not answer yet."""
        if self.process.poll() is not None:
            sys.exit(f"the daemon has ended:\n{self.log.read_text()[-2000:]}")
        try:
            found = json.loads(self.get("/v1/status"))
        except OSError:
            return None
        if found["run"]["state"] == "halted":
            sys.exit(f"the daemon has halted: {found['run']['reason']}")
        return found

    def until(self, holds, pause=0.01):
        while True:
            found = self.status()
            if found and holds(found):
                return found
            time.sleep(pause)

    def follows(self):
        return self.until(lambda found: found["phase"] == "dual-write" and found["lag"]["changes"] == 0 and found["target"]["position"])

    def reaches(self, seq):
        return self.until(lambda found: (found["target"]["position"] or {}).get("seq") == seq)

    def backfilled(self):
        """Seconds that the backfill took, indexes included."""
        name = 'liteferry_phase_seconds_total{phase="backfill"} '
        return float(next(line for line in self.get("/metrics").splitlines() if line.startswith(name))[len(name):])

    def peak(self):
        """MiB, of this process since it began."""
        line = next(line for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


class Operator:
    """Gives orders, and ends where one is refused."""

    def __init__(self, daemon, token):
        self.daemon, self.token = daemon, token

    def order(self, path, body):
        request = urllib.request.Request(self.daemon.base + path, json.dumps(body).encode(), {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"})
        try:
            number = json.loads(urllib.request.urlopen(request, timeout=10).read())["order"]
        except urllib.error.HTTPError as refused:
            sys.exit(f"{body} was refused: {refused.read().decode()}")
        status = self.daemon.until(lambda found: (found["answer"] or {}).get("order", 0) >= number)
        if status["answer"]["refused"]:
            sys.exit(f"{body} was refused: {status['answer']['refused']}")

    def lead(self, to):
        self.order("/v1/phase", {"to": to})

    def validated(self):
        self.lead("validate")
        self.daemon.until(lambda found: found["validation"]["direction"] == "forward" and found["validation"]["verdict"] == "equal")

    def switch(self):
        """From dual-write, until changes are brought back."""
        self.validated()
        self.daemon.until(lambda found: found["gates"]["switch"]["open"])
        self.lead("switch")
        self.daemon.until(lambda found: found["phase"] == "switch" and found["gates"]["rollback"]["open"])


class Ground(typing.NamedTuple):
    """What every measurement stands on."""

    binary: pathlib.Path
    publisher: bench.Cluster
    target: bench.Cluster
    folder: pathlib.Path
    port: int


@contextlib.contextmanager
def following(ground, source, database, fresh=True, through=None):
    url = ground.target.fresh(database) if fresh else ""
    if not fresh or through:
        url = f"postgres:///{database}?host={through or ground.target.folder}&user=bench"
    daemon = Daemon(ground.binary, source, url, ground.folder, ground.port)
    try:
        yield daemon
    finally:
        daemon.stop()


def sqlite(path, schema=None, synchronous="normal"):
    db = sqlite3.connect(path, isolation_level=None, timeout=30)
    if schema:
        db.executescript("pragma journal_mode = wal;" + schema)
    db.execute(f"pragma synchronous = {synchronous}")
    return db


def newest_seq(db):
    return db.execute("select max(seq) from _liteferry_change").fetchone()[0]


# Lag.


def write_paced(commit, first, seconds, rate):
    """One row a transaction; when each was made and when its commit returned, in nanoseconds. Behind its time it does not sleep."""
    times, start = [], time.monotonic()
    for number in range(int(seconds * rate)):
        ahead = start + number / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        made = time.time_ns()
        commit(first + number, made)
        times.append((made, time.time_ns()))
    return times


def in_sqlite(path, synchronous):
    db = sqlite(path, synchronous=synchronous)
    return lambda row, made: db.execute("insert into event values (?, ?, ?, 'name of an event')", (row, made, row % 1000))


def in_postgres(cluster, database):
    session = Postgres(cluster, database)
    session.ask("prepare one as insert into event values ($1, $2, $3, 'name of an event')")
    return lambda row, made: session.ask(f"execute one({row}, {made}, {row % 1000})")


def newest_row(cluster, database):
    session = Postgres(cluster, database)
    session.ask("prepare newest as select id from event order by id desc limit 1")
    return lambda: int(session.ask("execute newest") or 0)


def newest_row_of_sqlite(path):
    db = sqlite(path)
    return lambda: (db.execute("select max(id) from event").fetchone() or (0,))[0] or 0


def read_along(open_reader, last, answers):
    """When which row was first seen, until the last one is."""
    newest, seen, known = open_reader(), [], 0
    answers.put("reading")
    given_up = time.monotonic() + READER_GIVES_UP
    while known < last and time.monotonic() < given_up:
        found, at = newest(), time.time_ns()
        if found > known:
            known = found
            seen.append((found, at))
        time.sleep(PACE_OF_READER)
    answers.put(seen)


def lag(open_writer, open_reader, first, arguments):
    """Milliseconds to the first look that shows a row, from its commit's return (p50, p95, p99) and from its making (p50, p99); and the rate."""
    count = int(arguments.seconds * arguments.rate)
    answers = multiprocessing.Queue()
    reader = multiprocessing.Process(target=read_along, args=(open_reader, first + count - 1, answers), daemon=True)
    reader.start()
    answers.get()
    times = write_paced(open_writer(), first, arguments.seconds, arguments.rate)
    seen = answers.get()
    reader.join()
    if not seen or seen[-1][0] < first + count - 1:
        sys.exit(f"the last row was not seen within {READER_GIVES_UP} s")
    known = [at for (newest, at), before in zip(seen, [first - 1, *(newest for newest, _ in seen)]) for _ in range(newest - before)]
    from_return, from_making = ([(at - one[stamp]) / 1e6 for at, one in zip(known, times)] for stamp in (1, 0))
    of_hundred = lambda lags, which: statistics.quantiles(lags, n=100)[which - 1]
    took = (times[-1][1] - times[0][0]) / 1e9
    wanted = (from_return, 50), (from_return, 95), (from_return, 99), (from_making, 50), (from_making, 99)
    return *(of_hundred(lags, which) for lags, which in wanted), count / took


def pass_on(source, sink, seconds):
    """Every byte so much later than it came, and no later than it must be."""
    waiting, come = collections.deque(), threading.Condition()

    def deliver():
        while True:
            with come:
                come.wait_for(lambda: waiting)
                due, some = waiting.popleft()
            time.sleep(max(0, due - time.monotonic()))
            with contextlib.suppress(OSError):
                sink.sendall(some) if some else sink.shutdown(socket.SHUT_WR)
            if not some:
                return

    threading.Thread(target=deliver, daemon=True).start()
    some = b"."
    while some:
        try:
            some = source.recv(1 << 18)
        except OSError:
            some = b""
        with come:
            waiting.append((time.monotonic() + seconds, some))
            come.notify()


def stand_between(listener, there, seconds):
    while True:
        near, _ = listener.accept()
        far = socket.socket(socket.AF_UNIX)
        far.connect(there)
        for ends in ((near, far), (far, near)):
            threading.Thread(target=pass_on, args=(*ends, seconds), daemon=True).start()


@contextlib.contextmanager
def distance(cluster, folder, milliseconds):
    """Another folder to reach the cluster by: its answers come so much later."""
    folder.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / ".s.PGSQL.5432"))
    os.chmod(folder / ".s.PGSQL.5432", 0o777)
    listener.listen(64)
    there = str(cluster.folder / ".s.PGSQL.5432")
    between = multiprocessing.Process(target=stand_between, args=(listener, there, milliseconds / 2000), daemon=True)
    between.start()
    try:
        yield folder
    finally:
        between.terminate()
        between.join()


def replicate(publisher, subscriber, through=None):
    for cluster, name in ((publisher, "published"), (subscriber, "subscribed")):
        cluster.fresh(name)
        cluster.sql("create table event (id bigint primary key, made bigint not null, kind bigint not null, name text not null)", name)
    publisher.sql(SEED_EVENT, "published")
    publisher.sql("create publication events for table event", "published")
    subscriber.sql(f"create subscription events connection 'host={through or publisher.folder} user=bench dbname=published' publication events", "subscribed")
    while subscriber.sql("select count(*) from pg_subscription_rel where srsubstate = 'r'", "subscribed").strip() != "1":
        time.sleep(0.05)


def lags(ground, arguments):
    """Rounds of (ours at synchronous=NORMAL and FULL, theirs, ours on the way back)."""
    publisher, subscriber = ground.publisher, ground.target
    source = ground.folder / "event.db"
    sqlite(source, EVENT + SEED_EVENT).close()
    replicate(publisher, subscriber)
    rounds, first = [], SEED + 1
    with following(ground, source, "lag") as daemon:
        daemon.follows()
        ours, theirs = (lambda name=name: newest_row(subscriber, name) for name in ("lag", "subscribed"))
        count = int(arguments.seconds * arguments.rate)
        for number in range(arguments.rounds):
            one = [lag(lambda: in_sqlite(source, "normal"), ours, first, arguments)]
            one.append(lag(lambda: in_sqlite(source, "full"), ours, first + count, arguments))
            one.append(lag(lambda: in_postgres(publisher, "published"), theirs, SEED + 1 + number * count, arguments))
            rounds.append(one)
            first += 2 * count
        Operator(daemon, (ground.folder / "token").read_text().strip()).switch()
        for one in rounds:
            one.append(lag(lambda: in_postgres(subscriber, "lag"), lambda: newest_row_of_sqlite(source), first, arguments))
            first += count
        memory = daemon.peak()
    subscriber.sql("drop subscription events", "subscribed")
    return rounds, memory


def far_lags(ground, arguments):
    """Medians of (p50, p99) of logical replication and of ours, by the milliseconds of a round trip between both sides."""
    publisher, subscriber = ground.publisher, ground.target
    found, count = {}, int(arguments.seconds * arguments.rate)
    for apart in (1, 5):
        source, first, rounds = ground.folder / f"far{apart}.db", SEED + 1, []
        sqlite(source, EVENT + SEED_EVENT).close()
        with contextlib.ExitStack() as stack:
            to_target, to_publisher = (
                stack.enter_context(distance(one, ground.folder / f"{word}{apart}", apart)) for one, word in ((subscriber, "to"), (publisher, "from"))
            )
            replicate(publisher, subscriber, to_publisher)
            stack.callback(subscriber.sql, "drop subscription events", "subscribed")
            stack.enter_context(following(ground, source, "far", through=to_target)).follows()
            for _ in range(arguments.rounds):
                theirs = lag(lambda: in_postgres(publisher, "published"), lambda: newest_row(subscriber, "subscribed"), first, arguments)
                ours = lag(lambda: in_sqlite(source, "full"), lambda: newest_row(subscriber, "far"), first, arguments)
                rounds.append((theirs, ours))
                first += count
        found[apart] = [[statistics.median(one[side][at] for one in rounds) for at in (0, 2)] for side in (0, 1)]
    return found


# What the machine itself does.


def stood_still(core, seconds, answers):
    """Sends the gaps, in milliseconds, that a process which only looks at the clock found between two looks."""
    os.sched_setaffinity(0, {core})
    began = last = time.monotonic_ns()
    gaps = []
    while last - began < seconds * 1e9:
        now = time.monotonic_ns()
        if now - last > 500_000:
            gaps.append((now - last) / 1e6)
        last = now
    answers.put(gaps)


def standstill(seconds=5):
    """The share of the time for which a busy process was kept from a core, and for how many milliseconds at the longest: what waits for a
    commit waits that long too."""
    answers, cores = multiprocessing.Queue(), sorted(os.sched_getaffinity(0))
    lookers = [multiprocessing.Process(target=stood_still, args=(core, seconds, answers), daemon=True) for core in cores]
    for looker in lookers:
        looker.start()
    found = [answers.get() for _ in lookers]
    for looker in lookers:
        looker.join()
    return max(sum(gaps) for gaps in found) / (seconds * 1e3), max((gap for gaps in found for gap in gaps), default=0)


# What capture costs the application.


def seconds_of(path, synchronous, statement, parameters):
    db = sqlite(path, synchronous=synchronous)
    db.execute("select count(*) from wide where id < 100").fetchall()
    started = time.perf_counter()
    for one in parameters:
        db.execute(statement, one)
    took = time.perf_counter() - started
    db.close()
    return took / len(parameters)


def slowdown(plain, armed, synchronous, word, arguments, settle):
    """Medians of the plain write in microseconds and of the rounds' ratios. Which file is first alternates."""
    times, count = [], arguments.writes if synchronous == "normal" else arguments.writes // 4
    # A connection of the application's that stays: without one each round would end with the removal of the -wal, unless the daemon has it open.
    others = [sqlite(path) for path in (plain, armed)]
    for one in others:
        one.execute("select count(*) from wide").fetchall()
    for turn in range(arguments.turns):
        if word == "insert":
            statement, parameters = INSERT_WIDE, [(one / 7, one % 1000) for one in range(count)]
        else:
            statement, parameters = UPDATE_WIDE, [(0.5, 1 + (one * 7919 + turn) % 10_000) for one in range(count)]
        took = {}
        for path in (plain, armed) if turn % 2 else (armed, plain):
            took[path] = seconds_of(path, synchronous, statement, parameters)
            settle()
        times.append((took[plain] * 1e6, took[armed] / took[plain]))
    for one in others:
        one.close()
    return statistics.median(one[0] for one in times), statistics.median(one[1] for one in times)


def slowdowns(ground, arguments):
    plain, armed = ground.folder / "plain.db", ground.folder / "armed.db"
    for path in (plain, armed):
        db = sqlite(path, WIDE)
        db.execute(FILL_WIDE, (10_000,))
        db.close()
    with following(ground, armed, "slow") as daemon:
        daemon.follows()
    kinds = [(word, synchronous) for synchronous in ("normal", "full") for word in ("insert", "update")]
    found = {(kind, False): slowdown(plain, armed, kind[1], kind[0], arguments, lambda: None) for kind in kinds}
    with following(ground, armed, "slow", fresh=False) as daemon:

        def settle():
            db = sqlite(armed)
            daemon.reaches(newest_seq(db))
            db.close()

        settle()
        found |= {(kind, True): slowdown(plain, armed, kind[1], kind[0], arguments, settle) for kind in kinds}
    return found


# A writer at full speed.


def write_freely(path, seconds, answers):
    commit, number, until = in_sqlite(path, "normal"), 0, time.monotonic() + seconds
    answers.put("writing")
    while time.monotonic() < until:
        number += 1
        commit(number, time.time_ns())
    answers.put((number, time.monotonic()))


def sustained(ground, arguments):
    """Rows written, the lag in milliseconds at each third, and the seconds from the last commit until all is visible."""
    source, target, answers = ground.folder / "freely.db", ground.target, multiprocessing.Queue()
    sqlite(source, EVENT).close()
    with following(ground, source, "freely") as daemon:
        daemon.follows()
        newest, made = newest_row(target, "freely"), Postgres(target, "freely")
        writer = multiprocessing.Process(target=write_freely, args=(source, arguments.sustained, answers), daemon=True)
        writer.start()
        answers.get()
        started, thirds = time.monotonic(), []
        for third in (1, 2, 3):
            # Over a second, as single looks may fall right behind a batch or right before one.
            until, looks = started + third * arguments.sustained / 3 - 0.1, []
            time.sleep(max(0, until - 1 - time.monotonic()))
            while time.monotonic() < until:
                row = made.ask("select made from event order by id desc limit 1")
                looks.append((time.time_ns() - int(row)) / 1e6)
                time.sleep(0.02)
            thirds.append(statistics.median(looks))
        count, ended = answers.get()
        while newest() < count:
            time.sleep(0.001)
        return count, thirds, time.monotonic() - ended, daemon.peak()


# A backlog.


class CaughtUp(typing.NamedTuple):
    """Seconds of the backfill, and of catching up with the same rows from the first look at the source on: the table copied anew, and key by
    key, as where somebody has it in use; of one statement of PostgreSQL's own that updates them from a table at hand; peaks in MiB."""

    backfill: float
    anew: float
    by_key: float
    own: float
    backfill_peak: float
    anew_peak: float
    by_key_peak: float


def catch_up(ground, keys):
    source = ground.folder / f"backlog{keys}.db"
    db = sqlite(source, WIDE)
    db.execute(FILL_WIDE, (keys,))
    with following(ground, source, "backlog") as daemon:
        daemon.follows()
        backfill, backfill_peak = daemon.backfilled(), daemon.peak()
    anew, anew_peak = drained(ground, (db, source), keys)
    with in_use(ground, "wide"):
        by_key, by_key_peak = drained(ground, (db, source), keys)
    if (arrived := int(ground.target.sql("select count(*) from wide where changed = 2", "backlog"))) != keys:
        sys.exit(f"{arrived} rows of {keys} have arrived")
    ground.target.sql("create table at_hand as select * from wide", "backlog")
    begun = time.monotonic()
    ground.target.sql(UPDATE_AT_HAND, "backlog")
    return CaughtUp(backfill, anew, by_key, time.monotonic() - begun, backfill_peak, anew_peak, by_key_peak)


def drained(ground, sides, keys):
    """Every row is changed while no daemon runs."""
    db, source = sides
    for start in range(0, keys, 50_000):
        db.execute("update wide set amount = amount + 1, changed = changed + 1 where id > ? and id <= ?", (start, start + 50_000))
    seq = newest_seq(db)
    with following(ground, source, "backlog", fresh=False) as daemon:
        daemon.until(lambda found: found["source"]["seq"] is not None, 0.002)
        looked = time.monotonic()
        daemon.reaches(seq)
        return time.monotonic() - looked, daemon.peak()


@contextlib.contextmanager
def in_use(ground, table):
    """A transaction that has read the table."""
    command = ["psql", "-X", "-q", "-h", str(ground.target.folder), "-U", "bench", "backlog"]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    reader.stdin.write(f"begin; select from {table} limit 1;\n")
    reader.stdin.flush()
    reader.stdout.readline()
    yield
    reader.communicate()


# Memory, and the -wal.


def write_along(path, rows, rate, answers):
    """Updates of rows all over the table, until asked to stop."""
    db, number, started = sqlite(path), 0, time.monotonic()
    while answers.empty():
        number += 1
        db.execute("update big set changed = changed + 1 where id = ?", (1 + number * 7919 % rows,))
        time.sleep(max(0, started + number / rate - time.monotonic()))


def large(ground, arguments):
    """MiB of the database, peak MiB of the daemon, seconds of the backfill, and the largest -wal in MiB: alone, and beside the backfill."""
    source, mebibyte = ground.folder / "large.db", 1 << 20
    wal = source.with_name(source.name + "-wal")
    db = sqlite(source, BIG)
    for start in range(0, arguments.megabytes * 1000, 50_000):
        db.execute(FILL_BIG, (start + 1, start + 50_000))
    db.execute("pragma wal_checkpoint(truncate)")
    rows = db.execute("select count(*) from big").fetchone()[0]
    enough = multiprocessing.Queue()
    writer = multiprocessing.Process(target=write_along, args=(source, rows, arguments.rate / 5, enough), daemon=True)
    writer.start()
    largest = lambda before: max(before, wal.stat().st_size / mebibyte if wal.exists() else 0)
    alone, until = 0, time.monotonic() + 10
    while time.monotonic() < until:
        alone = largest(alone)
        time.sleep(0.02)
    beside = 0
    with following(ground, source, "large") as daemon:

        def follows(found):
            nonlocal beside
            beside = largest(beside)
            return found["phase"] == "dual-write" and found["target"]["position"]

        daemon.until(follows)
        seconds, peak = daemon.backfilled(), daemon.peak()
    enough.put("stop")
    writer.join()
    return source.stat().st_size / mebibyte, peak, seconds, alone, beside


# The page.


def verdict(figure, goal):
    return f"{figure:.2f} | {'≤' if figure <= goal else '**>**'} {goal:g}"


def lag_lines(still, rounds, memory, arguments):
    normal, full, theirs, back = range(4)
    middle = lambda side, at: statistics.median(one[side][at] for one in rounds)
    ratio = lambda side, at: statistics.median(one[side][at] / one[theirs][at] for one in rounds)
    held = lambda side, at: verdict(ratio(side, at), 2) if at in (0, 2) else f"{ratio(side, at):.2f} |"
    yield f"Lag at {arguments.rate:,} transactions/s of one row, until the first look at the target that shows the row ({arguments.rounds} rounds of {arguments.seconds} s each, the way back after the switch):"
    yield ""
    yield "| lag | logical replication | `liteferry run`, application at synchronous=FULL | ratio | goal | at NORMAL | ratio | goal | the way back, PostgreSQL → SQLite | ratio |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    names = [f"{which} from the commit's return" for which in ("p50", "p95", "p99")] + ["p50 from before the commit", "p99 from before the commit"]
    for at, name in enumerate(names):
        sides = " | ".join(f"{middle(side, at):.2f} ms | {held(side, at)}" for side in (full, normal))
        yield f"| {name} | {middle(theirs, at):.2f} ms | {sides} | {middle(back, at):.2f} ms | {ratio(back, at):.2f} |"
    reached = [f"{middle(side, 5):,.0f}" for side in (theirs, full, normal, back)]
    yield f"| transactions/s that the writer reached | {reached[0]} | {reached[1]} | | | {reached[2]} | | | {reached[3]} | |"
    yield f"| peak memory | | {memory:.0f} MiB | | ≤ 64 MiB | | | | | |"
    yield ""
    yield f"Right before, this machine kept a process that only looked at the clock from its core for {still[0]:.1%} of the time, for {still[1]:.1f} ms at the longest: a p99 holds that too."


def far_lines(found, arguments):
    yield "The same from the commit's return, where what PostgreSQL hears and says takes its time (a process between both holds back every byte):"
    yield ""
    yield "| round trip | logical replication, p50 | p99 | `liteferry run`, application at synchronous=FULL, p50 | p99 |"
    yield "| --- | --- | --- | --- | --- |"
    for apart, sides in found.items():
        yield f"| {apart} ms | " + " | ".join(f"{figure:.2f} ms" for side in sides for figure in side) + " |"


def cost_lines(found, arguments):
    goals = {("insert", "normal"): 1.35, ("update", "normal"): 1.8, ("insert", "full"): 1.1, ("update", "full"): 1.1}
    yield f"The application's writes under capture, one row a transaction, WAL (medians of {arguments.turns} rounds' ratios):"
    yield ""
    yield "| write | plain | captured, daemon stopped | goal | captured, daemon following |"
    yield "| --- | --- | --- | --- | --- |"
    for kind, goal in goals.items():
        (plain, stopped), (_, followed) = found[kind, False], found[kind, True]
        yield f"| {kind[0]}, synchronous={kind[1].upper()} | {plain:.0f} µs | {verdict(stopped, goal)} | {followed:.2f} |"


def backlog_lines(free, backlog, arguments):
    (count, thirds, drained, free_peak) = free
    rate = lambda seconds: f"{arguments.keys / seconds:,.0f} rows/s"
    yield "| work | figure | goal | peak memory |"
    yield "| --- | --- | --- | --- |"
    yield (
        f"| a Python writer at full speed for {arguments.sustained} s, {count / arguments.sustained:,.0f} transactions/s: lag at each third | "
        f"{', '.join(f'{one:.1f}' for one in thirds)} ms; {drained * 1000:.0f} ms after the last commit all is there | does not grow | {free_peak:.0f} MiB |"
    )
    yield f"| backfill of {arguments.keys:,} rows, with key and index | {backlog.backfill:.2f} s, {rate(backlog.backfill)} | | {backlog.backfill_peak:.0f} MiB |"
    ways = [("which are all of the table", backlog.anew, backlog.anew_peak), ("while somebody has the table in use", backlog.by_key, backlog.by_key_peak)]
    for which, caught, peak in ways:
        share = backlog.backfill / caught
        yield (
            f"| catching up as many dirty keys, {which}, from the first look to lag 0 | {caught:.2f} s, {rate(caught)}: {share:.2f} of the backfill's rate | "
            f"{'≥' if share >= 0.5 else '**<**'} 0.5 | {peak:.0f} MiB |"
        )
    yield f"| the same rows by one `update … from` of PostgreSQL's own, all of them at hand | {backlog.own:.2f} s, {rate(backlog.own)} | | |"


def memory_lines(found, backlog, arguments):
    (size, peak, seconds, alone, beside) = found
    yield "| work | figure | goal |"
    yield "| --- | --- | --- |"
    yield f"| backfill of {size:,.0f} MiB in {seconds:.1f} s under {arguments.rate / 5:,.0f} updates/s: peak memory | {peak:.0f} MiB | ≤ 64 MiB |"
    yield f"| the largest -wal meanwhile; of the same updates alone | {beside:.1f} MiB; {alone:.1f} MiB | |"
    yield f"| a backlog of {arguments.backlog:,} dirty keys, applied in {backlog.anew:.1f} s, or key by key in {backlog.by_key:.1f} s: peak memory | {max(backlog.anew_peak, backlog.by_key_peak):.0f} MiB | ≤ 64 MiB |"


def measure(folder, arguments):
    """The parts that were asked for, as paragraphs."""
    clusters = []
    try:
        for name in ("publisher", "target"):
            (folder / name).mkdir()
            clusters.append(bench.Cluster(folder / name, ["wal_level=logical"]))
        ground = Ground(arguments.binary, *clusters, folder, arguments.port)
        parts = {
            "lag": lambda: lag_lines(standstill(), *lags(ground, arguments), arguments),
            "far": lambda: far_lines(far_lags(ground, arguments), arguments),
            "cost": lambda: cost_lines(slowdowns(ground, arguments), arguments),
            "backlog": lambda: backlog_lines(sustained(ground, arguments), catch_up(ground, arguments.keys), arguments),
            "memory": lambda: memory_lines(large(ground, arguments), catch_up(ground, arguments.backlog), arguments),
        }
        paragraphs = []
        for name in arguments.only or parts:
            before = os.getloadavg()[0]
            lines = "\n".join(parts[name]())
            paragraphs.append(f"{lines}\n\nLoad average before and after: {before:.1f}, {os.getloadavg()[0]:.1f}.")
            print(paragraphs[-1] + "\n", flush=True)
        return "\n\n".join(paragraphs)
    finally:
        for cluster in clusters:
            cluster.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=["lag", "far", "cost", "backlog", "memory"], help="a part; again for another")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of rounds of the lag")
    parser.add_argument("--seconds", type=int, default=6, help="of each such round")
    parser.add_argument("--rate", type=int, default=1_000, help="transactions a second")
    parser.add_argument("--turns", type=int, default=21, help="pairs of rounds of the application's writes")
    parser.add_argument("--writes", type=int, default=4_000, help="of each such round; a quarter of it at synchronous=FULL")
    parser.add_argument("--sustained", type=int, default=45, help="seconds of writing at full speed")
    parser.add_argument("--keys", type=int, default=1_000_000, help="that the backlog holds")
    parser.add_argument("--megabytes", type=int, default=1_100, help="of the large database")
    parser.add_argument("--backlog", type=int, default=3_000_000, help="dirty keys while memory is looked at")
    parser.add_argument("--port", type=int, default=18_475, help="of the daemon's listener, on loopback")
    parser.add_argument("--binary", type=pathlib.Path, default=HERE / "target/release/liteferry")
    parser.add_argument("--write", action="store_true", help="keep the tables in docs/BENCHMARKS.md")
    arguments = parser.parse_args()
    if arguments.write and arguments.only:
        parser.error("the page is kept whole: --write without --only")
    with tempfile.TemporaryDirectory(prefix="liteferry-follow-") as folder:
        os.chmod(folder, 0o755)
        text = measure(pathlib.Path(folder), arguments)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    machine = f"{os.cpu_count()} cores, {memory} GiB, {platform.system()} {platform.machine()}, PostgreSQL {bench.server_programs().parent.name}"
    print(machine)
    if arguments.write:
        bench.keep("followed", f"{machine}; {time.strftime('%Y-%m-%d')}; `make bench-follow`\n\n{text}")


if __name__ == "__main__":
    main()
