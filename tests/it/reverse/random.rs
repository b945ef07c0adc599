//! A random workload in PostgreSQL while the way back is disturbed.

use super::SHOP;
use super::ground::{BEGIN, Pair, Way};
use crate::generate::random::Random;
use liteferry::flow::backfill::OnMisfit;
use liteferry::link::{Link, Take};
use liteferry::postgres::pair::PgHalf;
use liteferry::sqlite::pair::SqliteHalf;

/// What the application does to PostgreSQL, at random, and how the way back is disturbed meanwhile.
#[test]
fn a_random_workload_ends_with_both_sides_equal() {
    for seed in 0..3 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let pair = Pair::created(SHOP);
        let mut way: Way = pair.way_in_portions_of(1 << random.below(14));
        for round in 0..25 {
            let statements: Vec<String> = (0..1 + random.below(6)).map(|_| statement(&mut random)).collect();
            // One that breaks a rule takes nothing with it but itself.
            let guarded: Vec<String> = statements
                .iter()
                .map(|sql| format!("begin {sql}; exception when others then null; end;"))
                .collect();
            pair.app(&format!("do $do$ begin {} end $do$", guarded.join(" ")));
            match random.below(5) {
                0 => {
                    if way.commit_only_if_any().is_some() {
                        // What the application does meanwhile is of another state.
                        let sql = statement(&mut random);
                        pair.app(&format!(
                            "do $do$ begin set local lock_timeout = '100ms'; {sql}; exception when others then null; end $do$"
                        ));
                        is_held(&way.halves(&pair), (&way, &pair));
                    }
                }
                1 if pair.waiting() != "0" => way.abandon(),
                2 => continue,
                _ => drop(
                    way.step(Take::UpTo(1 + random.number().unsigned_abs() % 20), OnMisfit::Ledger)
                        .expect("a batch"),
                ),
            }
            if random.in_hundred(50) {
                drop(way);
                way = pair.way_in_portions_of(1 << random.below(14));
            } else {
                way.resume().expect("SQLite stands somewhere");
            }
            assert!(way.at.seq >= BEGIN.seq, "round {round}");
        }
        way.drain();
        pair.is_equal();
        assert_eq!(pair.waiting(), "0");
    }
}

/// SQLite holds what PostgreSQL showed.
fn is_held(link: &Link<PgHalf, SqliteHalf>, (way, pair): (&Way, &Pair)) {
    match way.compare(pair, link) {
        Ok(verdicts) => {
            assert!(verdicts.values().all(|(verdict, _)| verdict.equal()), "{:?}", verdicts.keys())
        }
        // Meanwhile a table was emptied.
        Err(fault) => assert_eq!(fault.code, "pair_outdated"),
    }
}

fn statement(random: &mut Random) -> String {
    let (id, other, n) = (random.below(9), random.below(9), random.below(5));
    let word = *random.pick(&["abc", "ABC", "x", "é", "", "2024-1-2"]);
    match random.below(13) {
        0 => {
            format!("insert into customer (id, email, name, at) values ({id}, '{word}{id}', '{word}', null)")
        }
        1 => format!("update customer set email = '{word}{other}', at = '{word}' where id = {id}"),
        2 => format!("update customer set id = {other} where id = {id}"),
        3 => format!("delete from customer where id = {id}"),
        4 => format!("insert into tag values ('{word}', {n})"),
        5 => format!("update tag set name = '{word}' where n = {n}"),
        6 => format!("delete from tag where n = {n}"),
        7 => format!("insert into item values ('{word}', {n}, {id}, {id} / 2.0)"),
        8 => format!("update item set no = no + 1, price = {id}, half = {id} / 2.0 where no = {n}"),
        9 => format!("insert into kept values ('{word}{n}', '{other}')"),
        10 => format!("update kept set v = '{word}' where k = '{word}{n}'"),
        11 => format!("insert into doc values ({id}, '{word}{n}')"),
        _ => format!(
            "{} {}",
            if random.in_hundred(30) { "truncate" } else { "delete from" },
            random.pick(&["tag", "item", "doc"])
        ),
    }
}
