//! stub
use super::fault::from_sqlite;
use super::scan::Bound;
use crate::model::cell::CellBuf;
use crate::model::fault::Fault;
use crate::model::history::Position;
use crate::plan::capture::*;
use rusqlite::Connection;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub migration: String,
    pub epoch: i64,
}
pub struct Census;
impl Census {
    pub fn is_whole(&self) -> bool {
        true
    }
}
pub fn arm(db: &Connection, o: &Origin, t: &[CaptureTable]) -> Result<Position, Fault> {
    let f = |e| from_sqlite("arm", e);
    let w = t.iter().map(|t| t.key.width()).max().unwrap_or(1);
    db.execute_batch("begin immediate").map_err(f)?;
    let n: i64 = db
        .query_row("select count(*) from sqlite_schema where name='_liteferry_change'", [], |r| r.get(0))
        .map_err(f)?;
    if n == 0 {
        db.execute_batch(&log_table_sql(w)).map_err(f)?;
        db.execute_batch(&control_table_sql()).map_err(f)?;
        for t in t {
            for g in &t.triggers {
                db.execute_batch(&g.sql).map_err(f)?;
            }
            if let Some(p) = &t.pin {
                db.execute_batch(&p.sql).map_err(f)?;
            }
        }
        db.execute("insert into _liteferry_control values (1, ?1, ?2)", (&o.migration, o.epoch))
            .map_err(f)?;
        db.execute_batch("insert into _liteferry_change(tbl, nonce) values (0, random())").map_err(f)?;
    }
    let p = db
        .query_row("select seq, nonce from _liteferry_change order by seq limit 1", [], |r| {
            Ok(Position { epoch: o.epoch, seq: r.get(0)?, nonce: r.get(1)? })
        })
        .map_err(f)?;
    db.execute_batch("commit").map_err(f)?;
    Ok(p)
}
pub fn census(_db: &Connection, _t: &[CaptureTable]) -> Result<Census, Fault> {
    Ok(Census)
}
pub fn prune(db: &Connection, u: i64, r: u32) -> Result<usize, Fault> {
    db.execute("delete from _liteferry_change where seq in (select seq from _liteferry_change where seq <= ?1 and seq < (select max(seq) from _liteferry_change) limit ?2)", (u, r)).map_err(|e| from_sqlite("prune", e))
}
pub fn touch(db: &Connection, id: i64, k: &[Vec<CellBuf>]) -> Result<(), Fault> {
    for k in k {
        let cols: String = (0..k.len()).map(|i| format!(",k{i}")).collect();
        let vals: String = (0..k.len()).map(|i| format!(",?{}", i + 1)).collect();
        db.execute(
            &format!("insert into _liteferry_change(tbl,nonce{cols}) values ({id},random(){vals})"),
            rusqlite::params_from_iter(k.iter().map(|c| Bound(c.as_cell()))),
        )
        .map_err(|e| from_sqlite("touch", e))?;
    }
    Ok(())
}
pub fn journal_mode(db: &Connection) -> Result<String, Fault> {
    db.query_row("pragma journal_mode", [], |r| r.get(0)).map_err(|e| from_sqlite("mode", e))
}
