//! Counts rows that refer to nothing, for as long as there is time.

use super::fault::from_sqlite;
use crate::model::fault::Fault;
use rusqlite::{Connection, ErrorCode};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Rows(u64),
    /// Time was up, or the rows are compared by a rule that only the application knows.
    Unknown,
}

/// SQLite asks whether to go on after so many steps of its machine: some tens of microseconds.
const STEPS: i32 = 10_000;

/// `sql` is a query for one number.
pub fn count(db: &Connection, sql: &str, time: Duration) -> Result<Counted, Fault> {
    let failed = |error| from_sqlite("look for rows that break a foreign key", error);
    let until = Instant::now() + time;
    db.progress_handler(STEPS, Some(move || Instant::now() >= until)).map_err(failed)?;
    let counted = db.query_row(sql, [], |row| row.get::<_, i64>(0));
    db.progress_handler(0, None::<fn() -> bool>).map_err(failed)?;
    match counted {
        Ok(rows) => Ok(Counted::Rows(rows.unsigned_abs())),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(Counted::Unknown)
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => Ok(Counted::Unknown),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_count_ends_with_its_time_and_leaves_the_connection_as_it_was() {
        let db = Connection::open_in_memory().unwrap();
        let endless =
            "with recursive n (i) as (select 1 union all select i + 1 from n) select count(*) from n";
        assert_eq!(count(&db, endless, Duration::from_millis(20)).unwrap(), Counted::Unknown);
        let foreign = "select count(*) from (select 'a' as a) where a = 'b' collate theirs";
        assert_eq!(count(&db, foreign, Duration::from_secs(60)).unwrap(), Counted::Unknown);
        let long = "with recursive n (i) as (select 1 union all select i + 1 from n limit 100000) select count(*) from n";
        assert_eq!(count(&db, long, Duration::from_secs(60)).unwrap(), Counted::Rows(100_000));
        let rows: i64 = db.query_row(long, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 100_000, "nobody is asked any more");
    }
}
