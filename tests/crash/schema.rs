//! The application's database: every kind of table that capture treats in its own way, small enough that its rows collide, and one
//! table that takes a backfill some time.

/// How a column's values look, in SQLite and as PostgreSQL prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number from a small range, so that rows meet.
    Id,
    Integer,
    Real,
    /// A word of few letters in either case.
    Word,
    Text,
    Blob,
}

pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Kind)],
    /// How many of the first columns are the key; none for a table without.
    pub key: usize,
    /// Whether statements may change any of its rows in any way.
    pub writers: Writers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    Anything,
    /// Single rows only: it is large.
    Rows,
    /// Its rows mean something together.
    OwnStatements,
}

pub const TABLES: [Table; 13] = [
    Table {
        name: "account",
        columns: &[("id", Kind::Id), ("balance", Kind::Integer), ("moves", Kind::Integer)],
        key: 1,
        writers: Writers::OwnStatements,
    },
    Table {
        name: "transfer",
        columns: &[
            ("id", Kind::Integer),
            ("giver", Kind::Id),
            ("taker", Kind::Id),
            ("amount", Kind::Integer),
        ],
        key: 1,
        writers: Writers::OwnStatements,
    },
    Table {
        name: "history",
        columns: &[("id", Kind::Integer), ("what", Kind::Text), ("item", Kind::Integer)],
        key: 1,
        writers: Writers::OwnStatements,
    },
    Table {
        name: "bulk",
        columns: &[("id", Kind::Integer), ("k", Kind::Integer), ("v", Kind::Text)],
        key: 1,
        writers: Writers::Rows,
    },
    Table {
        name: "item",
        columns: &[
            ("id", Kind::Id),
            ("v", Kind::Text),
            ("n", Kind::Integer),
            ("r", Kind::Real),
            ("b", Kind::Blob),
            ("touched", Kind::Integer),
        ],
        key: 1,
        writers: Writers::Anything,
    },
    Table {
        name: "word",
        columns: &[("w", Kind::Word), ("n", Kind::Integer), ("note", Kind::Text)],
        key: 1,
        writers: Writers::Anything,
    },
    Table {
        name: "pair",
        columns: &[("a", Kind::Word), ("b", Kind::Id), ("v", Kind::Text)],
        key: 2,
        writers: Writers::Anything,
    },
    Table {
        name: "loose",
        columns: &[("x", Kind::Text), ("y", Kind::Id), ("z", Kind::Real)],
        key: 0,
        writers: Writers::Anything,
    },
    Table {
        name: "named",
        columns: &[("id", Kind::Id), ("name", Kind::Word), ("v", Kind::Text)],
        key: 1,
        writers: Writers::Anything,
    },
    Table {
        name: "member",
        columns: &[("id", Kind::Id), ("email", Kind::Word), ("live", Kind::Id), ("badge", Kind::Word)],
        key: 1,
        writers: Writers::Anything,
    },
    Table {
        name: "node",
        columns: &[("id", Kind::Id), ("parent", Kind::Id), ("v", Kind::Text)],
        key: 1,
        writers: Writers::Anything,
    },
    Table {
        name: "leaf",
        columns: &[("id", Kind::Id), ("w", Kind::Word), ("node", Kind::Id)],
        key: 1,
        writers: Writers::Anything,
    },
    Table {
        name: "slot",
        columns: &[("code", Kind::Word), ("place", Kind::Id), ("b", Kind::Blob)],
        key: 1,
        writers: Writers::Anything,
    },
];

pub const ACCOUNTS: usize = 24;

pub const SCHEMA: &str = "
    pragma journal_mode = wal;
    create table account (id integer primary key, balance integer not null, moves integer not null);
    create table transfer (id integer primary key, giver integer not null, taker integer not null, amount integer not null);
    create table history (id integer primary key autoincrement, what text not null, item integer);
    create table bulk (id integer primary key, k integer not null, v text);
    create index bulk_k on bulk (k);
    create table item (id integer primary key, v text, n integer, r real, b blob, touched integer not null default 0);
    create table word (w text primary key not null, n integer, note text);
    create table pair (a text not null, b integer not null, v text, primary key (a desc, b)) without rowid;
    create table loose (x text, y integer, z real);
    create table named (id integer primary key, name text collate nocase unique, v text);
    create table member (id integer primary key, email text, live integer, badge text);
    create unique index member_email on member (lower(email)) where live > 20;
    create unique index member_badge on member (badge);
    create table node (id integer primary key, parent integer references node (id) on delete cascade on update cascade, v text);
    create index node_parent on node (parent);
    create table leaf (id integer primary key, w text references word (w) on delete set null on update cascade,
        node integer references node (id) on delete cascade on update set null);
    create table slot (code text not null, place integer unique on conflict replace, b blob, primary key (code));
    create trigger item_changed after update of v, n on item when new.touched < 9 begin
        update item set touched = touched + 1 where id = new.id;
        insert into history (what, item) values ('changed', new.id);
    end;
    create trigger item_gone after delete on item begin
        insert into history (what, item) values ('gone', old.id);
        delete from history where id < (select max(id) from history) - 400;
    end;
    create trigger item_refused before insert on item when new.n = 13 begin select raise(ignore); end;
    create trigger node_named before update of v on node when new.v = 'refused' begin select raise(abort, 'refused'); end;
";

/// Rows enough that the daemon can be hit while it loads them.
pub fn filling(bulk_rows: usize) -> String {
    format!(
        "begin;
         with recursive n (i) as (select 1 union all select i + 1 from n where i < {ACCOUNTS})
             insert into account select i, 0, 0 from n;
         with recursive n (i) as (select 1 union all select i + 1 from n where i < {bulk_rows})
             insert into bulk select i, i % 97, 'value ' || i || hex(zeroblob(120)) from n;
         insert into item (id, v, n, r, b) select id, v, k, k / 8.0, x'00ff' from bulk where id <= 30;
         insert into word select char(96 + id), id, v from bulk where id <= 20;
         insert into pair select char(96 + id % 7), id, v from bulk where id <= 30;
         insert into loose select v, k, k * 0.1 from bulk where id <= 30;
         insert into node select id, nullif(id / 2, 0), v from bulk where id <= 40;
         commit"
    )
}
