"""A small application, for docker-compose.yml: writes orders to a SQLite database, one transaction every 50 ms, and says how many
were acknowledged. It knows nothing of liteferry, and it never writes to a database that is not its own."""

import random
import signal
import sqlite3
import sys
import time

EVERY_SECONDS = 0.05
TOLD_EVERY = 100
# It is what many applications do, and it goes on by itself once the writes have come back.
AFTER_REFUSAL_SECONDS = 1
# Old orders go, so that the sample never fills a disk.
ORDERS_MAX = 50_000

SCHEMA = """
create table if not exists customer (id integer primary key, email text not null unique, joined text not null);
create table if not exists orders (
    id integer primary key,
    customer_id integer not null references customer (id),
    total_cents integer not null,
    state text not null default 'new' check (state in ('new', 'paid', 'sent')),
    placed_at text not null
);
create index if not exists orders_by_customer on orders (customer_id);
create index if not exists orders_open on orders (placed_at) where state <> 'sent';
"""


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write(db):
    """One transaction, of the kinds that an application has."""
    kind = random.random()
    with db:
        if kind < 0.05:
            address = f"{random.getrandbits(64):016x}@example.org"
            db.execute("insert into customer (email, joined) values (?, ?)", (address, now()))
        elif kind < 0.70:
            (last,) = db.execute("select max(id) from customer").fetchone()
            order = (random.randint(1, last), random.randint(100, 99_999), now())
            db.execute("insert into orders (customer_id, total_cents, placed_at) values (?, ?, ?)", order)
        elif kind < 0.95:
            db.execute(
                "update orders set state = case state when 'new' then 'paid' else 'sent' end"
                " where id = (select id from orders where state <> 'sent' order by placed_at limit 1)"
            )
        else:
            db.execute("delete from orders where id <= (select max(id) from orders) - ?", (ORDERS_MAX,))


def main():
    db = sqlite3.connect(sys.argv[1], timeout=5)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma foreign_keys = on")
    db.executescript(SCHEMA)
    if not db.execute("select count(*) from customer").fetchone()[0]:
        with db:
            db.execute("insert into customer (email, joined) values ('first@example.org', ?)", (now(),))
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.append(True))
    acknowledged = 0
    while not asked:
        try:
            write(db)
        except sqlite3.Error as refused:
            print(f"refused: {refused}", flush=True)
            time.sleep(AFTER_REFUSAL_SECONDS)
            continue
        acknowledged += 1
        if acknowledged % TOLD_EVERY == 0:
            print(f"acknowledged {acknowledged}", flush=True)
        time.sleep(EVERY_SECONDS)
    db.close()
    print(f"acknowledged {acknowledged}", flush=True)


if __name__ == "__main__":
    main()
