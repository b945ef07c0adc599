//! Tables that are copied anew in a batch: emptied and filled in its transaction, or not at all.

use super::PAIRS;
use super::ground::{Sides, at};
use crate::support::held::HeldSession;
use liteferry::link::{Changed, Extent, RENEWAL_REFUSED};
use liteferry::model::fault::FaultClass;

impl Sides {
    /// All rows of `t`, in two portions.
    fn anew(&self) -> Vec<Vec<Changed>> {
        let first = self.renewed("t", "select id from t where id % 2 = 0");
        let second = Changed { emptied: None, ..self.renewed("t", "select id from t where id % 2 = 1") };
        vec![vec![first], vec![second]]
    }

    /// Tells whether a table was emptied since.
    fn file_of(&self, table: &str) -> Vec<String> {
        self.rows(&format!("select pg_relation_filenode('{table}')"))
    }
}

#[test]
fn a_table_is_copied_anew_beside_changes_of_others() {
    let sides = Sides::copied(PAIRS);
    let mut applier = sides.applier("me");
    sides.target(
        "create index by_n on t (n desc nulls last) with (fillfactor = 71); create index few on t (v) where n > 1;
         create index told on t (n); comment on index told is 'why it is there'",
    );
    let definitions = "select string_agg(pg_get_indexdef(indexrelid) || coalesce(obj_description(indexrelid), ''), ';' order by indexrelid::regclass::text)
        from pg_index where indrelid = 't'::regclass and indisvalid";
    let indexes = sides.rows(definitions);
    for turn in 1..4 {
        let before = (sides.file_of("t"), sides.file_of("p"));
        sides.add_rows("t", if turn == 1 { 3_000 } else { 0 });
        // A ring of unique values, a row that goes, and one of another table.
        sides.write(
            "update t set v = 'tmp' where id = 1; update t set v = 'c' || v where id = 2; update t set v = 'b' where id = 1;
             update t set n = n + 1; delete from t where id = (select max(id) from t); update p set v = v || 'x' where b = 1",
        );
        let mut portions = sides.anew();
        portions.push(vec![sides.changed("p", "('x', 1)")]);
        let rows: u64 = sides.rows("select count(*) from t")[0].parse().expect("a count");
        let applied = applier.apply((turn, turn + 1), portions, Extent::Whole).expect("a batch is applied");
        sides.equal();
        let rows = if turn == 1 { rows + 2_999 } else { rows - 1 };
        assert_eq!((applied.written, applied.deleted, applied.held), (rows + 1, 0, 0));
        let after = (sides.file_of("t"), sides.file_of("p"));
        assert!(before.0 != after.0 && before.1 == after.1, "one of them was emptied");
        assert_eq!(sides.rows(definitions), indexes);
    }
    // The session goes on as before.
    sides.write("update t set n = 0 where id = 2");
    applier.apply((4, 5), vec![vec![sides.changed("t", "2")]], Extent::Whole).expect("a batch is applied");
    sides.equal();
}

#[test]
fn the_ledger_of_a_table_is_written_anew() {
    let sides = Sides::copied(PAIRS);
    let mut applier = sides.applier("me");
    sides.target("alter table t add check (n <> 13)");
    sides.write("update t set v = x'00' where id = 1; update t set v = x'01' where id = 2; update p set v = x'02' where b = 2");
    let portion = vec![sides.changed("t", "1, 2"), sides.changed("p", "('x', 2)")];
    applier.apply((1, 2), vec![portion], Extent::Whole).expect("a batch is applied");
    let ledger = "select source_table || key || standing from liteferry.ledger order by 1";
    assert_eq!(sides.rows(ledger).len(), 3);
    sides.target("update liteferry.ledger set accepted = now() where key = '[2]'");
    let accepted = "select id from liteferry.ledger where accepted is not null";
    let before = sides.rows(accepted);
    sides.write("update t set v = 'mended' where id = 1; update t set n = 13 where id = 3");
    let applied = applier.apply((2, 3), sides.anew(), Extent::Whole).expect("a batch is applied");
    assert_eq!((applied.written, applied.held), (2, 1));
    sides.equal();
    let held = sides.rows(ledger);
    assert!(held.contains(&"t[3]row-held".to_owned()), "{held:?}");
    assert!(!held.iter().any(|entry| entry.starts_with("t[1]")), "{held:?}");
    assert_eq!(held.iter().filter(|entry| entry.starts_with("p[") || entry.starts_with("t[2]")).count(), 2);
    assert_eq!(sides.rows(accepted), before, "what is as it was stays accepted");
    // A row that left the ledger with another way of writing stays away.
    sides.write("update t set v = 'mended too' where id = 2; update t set n = 12 where id = 3");
    let portion = vec![sides.changed("t", "2, 3")];
    applier.apply((3, 4), vec![portion], Extent::Whole).expect("a batch is applied");
    sides.equal();
    assert_eq!(sides.rows(ledger).len(), 1);
}

/// Whatever keeps a table from being emptied, nothing is changed, and its changes arrive key by key.
#[test]
fn a_table_that_cannot_be_emptied_is_refused_whole() {
    for obstacle in [
        "create table child (t bigint references t)",
        "create table more () inherits (t)",
        "alter table t add column beside int default 7",
        "create publication rows_alone for table t with (publish = 'insert, update, delete')",
        "begin; select from t",
    ] {
        let sides = Sides::copied(PAIRS);
        let mut applier = sides.applier("me");
        let held = HeldSession::open(sides.url());
        held.run(obstacle);
        let (before, file) = (sides.rows("select t::text from t order by id"), sides.file_of("t"));
        sides.write("update t set n = n + 1; update p set v = 'new'");
        let mut portions = sides.anew();
        portions.insert(0, vec![sides.changed("p", "('x', 1), ('x', 2)")]);
        let fault = applier.apply((1, 2), portions, Extent::Whole).expect_err(obstacle);
        assert_eq!(
            (fault.class, fault.code),
            (FaultClass::Transient, RENEWAL_REFUSED),
            "{obstacle}: {fault:?}"
        );
        assert_eq!(applier.position().expect("a position"), at(1), "{obstacle}");
        assert_eq!(
            (sides.rows("select t::text from t order by id"), sides.file_of("t")),
            (before, file),
            "{obstacle}"
        );
        let portion = vec![sides.changed("t", "1, 2, 3"), sides.changed("p", "('x', 1), ('x', 2)")];
        applier.apply((1, 2), vec![portion], Extent::Whole).expect(obstacle);
        assert_eq!(sides.rows("select sum(n) from t"), ["9"], "{obstacle}");
    }
}

/// Row by row such a value goes to the ledger.
#[test]
fn a_value_that_an_index_does_not_take_refuses_the_renewal() {
    let sides = Sides::copied(
        "create table t (id integer primary key, v text); insert into t values (1, 'a'), (2, 'b')",
    );
    let mut applier = sides.applier("me");
    sides.target("create index on t (v)");
    sides.write("update t set v = hex(randomblob(6000)) where id = 1");
    let fault = applier.apply((1, 2), sides.anew(), Extent::Whole).expect_err("it is too long");
    assert_eq!(fault.code, RENEWAL_REFUSED);
    let portion = vec![sides.changed("t", "1, 2")];
    let applied = applier.apply((1, 2), vec![portion], Extent::Whole).expect("a batch is applied");
    assert_eq!((applied.written, applied.held), (1, 1));
    sides.equal();
}

#[test]
fn nothing_of_a_batch_that_fails_stays() {
    let sides = Sides::copied(PAIRS);
    let mut applier = sides.applier("me");
    let before = sides.rows("select t::text from t order by id");
    sides.write("update t set n = n + 1");
    let fault = sides.applier("another").apply((1, 2), sides.anew(), Extent::Whole).expect_err("not its own");
    assert_eq!(fault.code, "another_owner");
    let lost = liteferry::model::fault::Fault::new(FaultClass::Transient, "lost", "sync");
    let durable = std::future::ready(Err(lost));
    let fault = applier.apply_with((1, 2), sides.anew(), Extent::Whole, durable).expect_err("not on disk");
    assert_eq!(fault.code, "lost");
    assert_eq!(applier.position().expect("a position"), at(1));
    assert_eq!(sides.rows("select t::text from t order by id"), before);
    applier.apply((1, 2), sides.anew(), Extent::Whole).expect("a batch is applied");
    sides.equal();
}
