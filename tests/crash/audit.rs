//! What PostgreSQL itself saw of the position: a trigger of the test's writes down every move, in the transaction of the move. And a
//! witness that looks in at any time: money only moves, so that its sum tells whether a state is one that SQLite was in.

use crate::server::{Row, Server, connect, rows};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// Before the migration begins there is no table to watch: the schema's own migrations are waited for.
pub fn install(server: &Server, database: &str) -> bool {
    let there = "select 1 where to_regclass('liteferry.follow') is not null";
    if !server.query(database, there).is_ok_and(|rows| rows.len() == 1) {
        return false;
    }
    let sql = "
        create schema if not exists audit;
        create table if not exists audit.move (at bigserial, owner text, phase text, old_seq bigint, old_nonce bigint,
            new_seq bigint, new_nonce bigint, tx xid8 default pg_current_xact_id());
        create or replace function audit.note() returns trigger language plpgsql as $$ begin
            insert into audit.move (owner, phase, old_seq, old_nonce, new_seq, new_nonce)
                values (new.owner, new.phase, old.seq, old.nonce, new.seq, new.nonce);
            return null;
        end $$;
        create or replace trigger note after update on liteferry.follow for each row
            when ((old.epoch, old.seq, old.nonce) is distinct from (new.epoch, new.seq, new.nonce))
            execute function audit.note();
        alter table liteferry.follow enable always trigger note";
    server.query(database, sql).is_ok()
}

/// Each position was left exactly once, and no owner came back after another; gives the number of moves.
pub fn verify(server: &Server, database: &str) -> Result<usize, String> {
    let sql = "select old_seq, old_nonce, new_seq, new_nonce, owner, tx::text from audit.move order by new_seq, old_seq";
    let moves = server.query(database, sql).map_err(|error| format!("{error:?}"))?;
    let now = server.query(database, "select seq, nonce from liteferry.follow");
    chain(&moves, &now.map_err(|error| format!("{error:?}"))?)
}

fn chain(moves: &[Row], now: &[Row]) -> Result<usize, String> {
    for (before, after) in moves.iter().zip(&moves[1.min(moves.len())..]) {
        if before[2..4] != after[0..2] {
            return Err(format!("a gap or a repeat: {before:?} then {after:?}"));
        }
    }
    if moves.last().is_some_and(|last| now.len() != 1 || last[2..4] != now[0][..]) {
        return Err(format!("the last move leads elsewhere: {:?}, now {now:?}", moves.last()));
    }
    let (mut owners, mut transactions) = (HashSet::new(), HashSet::new());
    let mut owner = &None;
    for row in moves {
        if !transactions.insert(&row[5]) {
            return Err(format!("two moves in one transaction: {row:?}"));
        }
        if &row[4] != owner && !owners.insert(&row[4]) {
            return Err(format!("an owner came back: {row:?}"));
        }
        owner = &row[4];
    }
    Ok(moves.len())
}

/// Looks in from a thread of its own until it is dropped.
pub struct Witness {
    leave: Arc<AtomicBool>,
    pub looks: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

/// One statement, one snapshot. Before the first catching up has ended the target is at no state of the source.
const LOOK: &str = "select (select phase from liteferry.follow), (select sum(balance) from public.account),
    (select sum(moves) from public.account), 2 * (select count(*) from public.transfer)";

impl Witness {
    pub fn watch(url: String) -> Witness {
        let (leave, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (left, counted) = (Arc::clone(&leave), Arc::clone(&looks));
        let thread = spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                while !left.load(Ordering::Relaxed) {
                    // The server is away now and then, and the tables are not there yet.
                    if let Ok(client) = connect(&url).await {
                        while let Ok(seen) = rows(&client, LOOK).await {
                            judge(&seen)?;
                            counted.fetch_add(u64::from(in_dual_write(&seen)), Ordering::Relaxed);
                            if left.load(Ordering::Relaxed) {
                                break;
                            }
                            tokio::time::sleep(Duration::from_millis(15)).await;
                        }
                    }
                    sleep(Duration::from_millis(100));
                }
                Ok(())
            })
        });
        Witness { leave, looks, thread: Some(thread) }
    }

    /// How many looks it took, each of which found a state that SQLite was in.
    pub fn testify(mut self) -> Result<u64, String> {
        self.leave.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it testifies once");
        thread.join().expect("a witness does not panic")?;
        Ok(self.looks.load(Ordering::Relaxed))
    }
}

fn in_dual_write(seen: &[Row]) -> bool {
    seen.first().is_some_and(|row| row[0].as_deref() == Some("dual-write"))
}

fn judge(seen: &[Row]) -> Result<(), String> {
    let Some([_, balance, moves, transfers]) = seen.first().map(Vec::as_slice) else { return Ok(()) };
    if in_dual_write(seen) && (balance.as_deref() != Some("0") || moves != transfers) {
        return Err(format!("PostgreSQL is at no state of SQLite: {seen:?}"));
    }
    Ok(())
}

#[test]
fn a_broken_chain_and_a_torn_state_are_seen() {
    let row = |cells: &[&str]| -> Row { cells.iter().map(|cell| Some((*cell).to_owned())).collect() };
    let moves = |list: &[[&str; 6]]| list.iter().map(|cells| row(cells)).collect::<Vec<_>>();
    let good = [["1", "a", "2", "b", "A", "7"], ["2", "b", "5", "c", "B", "8"]];
    assert_eq!(chain(&moves(&good), &[row(&["5", "c"])]), Ok(2));
    assert!(chain(&moves(&good), &[row(&["6", "d"])]).is_err());
    for bad in
        [["2", "x", "5", "c", "B", "8"], ["1", "a", "5", "c", "B", "8"], ["2", "b", "5", "c", "B", "7"]]
    {
        assert!(chain(&moves(&[good[0], bad]), &[row(&["5", "c"])]).is_err(), "{bad:?}");
    }
    let back = ["5", "c", "6", "d", "A", "9"];
    assert!(chain(&moves(&[good[0], good[1], back]), &[row(&["6", "d"])]).is_err());
    assert!(judge(&[row(&["dual-write", "0", "4", "4"])]).is_ok());
    assert!(judge(&[row(&["dual-write", "0", "4", "6"])]).is_err());
    assert!(judge(&[row(&["backfill", "9", "4", "6"])]).is_ok());
}
