//! `create` mode: indexes, unique constraints and CHECKs that the application's migrations bring and take away while the daemon follows.

use crate::follow::Case;
use crate::support::daemon::Daemon;
use crate::support::{psql, until};

const SOURCE: &str = "pragma journal_mode = wal;
    create table item (id integer primary key, name text not null, n integer, kind text, unique (name), check (n < 100), check (kind <> 'x'));
    create unique index one_kind on item (kind); create index by_n on item (n);
    insert into item (name, n, kind) values ('a', 1, 'k'), ('b', 2, 'l')";
/// Each with its number, which it keeps for as long as it is the same one.
const RULES: &str = "select pg_get_indexdef(indexrelid), indexrelid from pg_index where indrelid = 'item'::regclass and not indisprimary
    union all select conname || ' ' || pg_get_constraintdef(oid), oid from pg_constraint where conrelid = 'item'::regclass and contype = 'c'
    order by 1";

struct Followed {
    case: Case,
    daemon: Daemon,
}

impl Followed {
    fn begin() -> Followed {
        let case = Case::new(SOURCE);
        let mut daemon = case.daemon(&[]);
        daemon.until(|status| status["phase"] == "dual-write" && status["validation"]["verdict"] == "equal");
        Followed { case, daemon }
    }

    /// As migration tools make a table anew.
    fn anew(&self, columns: &str, more: &str) {
        self.case.app(&format!(
            "begin; create table new_item ({columns}); insert into new_item select * from item; drop table item;
             alter table new_item rename to item; {more}; commit"
        ));
    }

    /// What PostgreSQL keeps to, once it has come to that.
    fn has(&mut self, expected: &[&str]) -> Vec<Vec<Option<String>>> {
        let told = |rules: &[Vec<Option<String>>]| -> Vec<String> {
            let short = |rule: &Vec<Option<String>>| {
                rule[0].clone().expect("a rule").replace("public.item USING btree ", "")
            };
            rules.iter().map(short).collect()
        };
        until(&format!("{expected:?}"), || {
            self.daemon.drained(&self.case.source);
            told(&self.case.rows(RULES)) == expected
        });
        until("what changed unseen is settled", || {
            self.case.rows("select 1 from liteferry.captured where suspect").is_empty()
        });
        self.daemon.drained(&self.case.source);
        assert!(self.case.rows("select 1 from liteferry.ledger").is_empty(), "{}", self.daemon.log());
        self.case.is_equal();
        self.case.rows(RULES)
    }
}

const BY_N: &str = "CREATE INDEX by_n ON (n NULLS FIRST)";
const ONE_KIND: &str = "CREATE UNIQUE INDEX one_kind ON (kind NULLS FIRST)";
const ONE_NAME: &str = "CREATE UNIQUE INDEX item_name_key ON (name)";

/// Rows that SQLite takes from then on would be refused by what PostgreSQL alone still enforced.
#[test]
fn what_a_migration_takes_away_refuses_no_row() {
    let mut followed = Followed::begin();
    let (few, kind) = ("item_check CHECK ((n < 100))", "item_check_2 CHECK ((kind <> 'x'::text))");
    followed.has(&[BY_N, ONE_NAME, ONE_KIND, few, kind]);
    followed.case.app("drop index one_kind; insert into item (name, n, kind) values ('c', 3, 'k')");
    followed.has(&[BY_N, ONE_NAME, few, kind]);
    followed.anew(
        "id integer primary key, name text not null, n integer, kind text, check (kind <> 'x')",
        "create index by_n on item (n); insert into item (name, n) values ('a', 1000)",
    );
    followed.has(&[BY_N, "item_check CHECK ((kind <> 'x'::text))"]);
    assert!(followed.case.rows("select 1 from liteferry.planned where what like '%one_kind%'").is_empty());
}

#[test]
fn what_a_migration_brings_is_made_once_the_target_stands_there() {
    let mut followed = Followed::begin();
    // The rows that break it go in the same transaction, of which PostgreSQL knows nothing as yet.
    followed.case.app(
        "insert into item (name, n) values ('c', 2), ('d', 2); begin; delete from item where name in ('c', 'd');
         create unique index one_n on item (n) where n > 1; commit",
    );
    followed.anew(
        "id integer primary key, name text not null, n integer, kind text, unique (name), unique (kind, n), check (n < 100),
         constraint named check (length(kind) < 9)",
        "create unique index one_n on item (n) where n > 1; create index by_n on item (n desc)",
    );
    let rules = [
        "CREATE INDEX by_n ON (n DESC NULLS LAST)",
        "CREATE UNIQUE INDEX item_kind_n_key ON (kind, n)",
        ONE_NAME,
        "CREATE UNIQUE INDEX one_n ON (n NULLS FIRST) WHERE (n > 1)",
        "item_check CHECK ((n < 100))",
        "named CHECK ((length(kind) < 9))",
    ];
    followed.has(&rules);
    let Followed { case, daemon } = followed;
    assert_eq!(daemon.stop(), Some(0));
    let daemon = case.daemon(&[]);
    let mut followed = Followed { case, daemon };
    // A batch in which unique values move between rows: what is unique decides how rows are written.
    followed.case.app("begin; update item set n = -n; update item set n = 3 + n; commit");
    followed.has(&rules);
}

/// PostgreSQL renames what stands on a column by itself.
#[test]
fn what_stays_is_not_made_anew() {
    let mut followed = Followed::begin();
    let before = followed.case.rows(RULES);
    followed.case.app("alter table item rename column n to number; create index late on item (kind, number)");
    let late = "CREATE INDEX late ON (kind NULLS FIRST, number NULLS FIRST)";
    let checks = ["item_check CHECK ((number < 100))", "item_check_2 CHECK ((kind <> 'x'::text))"];
    let by_number = "CREATE INDEX by_n ON (number NULLS FIRST)";
    let now = followed.has(&[by_number, late, ONE_NAME, ONE_KIND, checks[0], checks[1]]);
    for (name, at) in [("by_n", 0), ("item_name_key", 2), ("one_kind", 3)] {
        let number = |rules: &[Vec<Option<String>>]| {
            rules.iter().find(|rule| rule[0].as_ref().is_some_and(|it| it.contains(name))).expect(name)[1]
                .clone()
        };
        assert_eq!(number(&before), now[at][1], "{name}");
    }
    // The application's migration ran against the target too.
    psql(&followed.case.target.url, "create index by_kind on item (kind)");
    followed.case.app("create index by_kind on item (kind); drop index late");
    followed.has(&["CREATE INDEX by_kind ON (kind)", by_number, ONE_NAME, ONE_KIND, checks[0], checks[1]]);
}
