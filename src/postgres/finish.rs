//! What is done after the load: sequences and statistics.

use super::connect::Session;
use super::fault;
use crate::model::fault::Fault;
use crate::model::name::{PgName, ident};
use crate::plan::numbers::{Numbers, Reached};
use crate::plan::{SequencePlan, SequenceSource};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// Where a sequence was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SequenceSet {
    /// It issues nothing that anybody has: it is left as it is.
    Untouched,
    /// The last value it counts as issued.
    At(i64),
    /// The last value is the sequence's (or its column's) largest: the next insert will fail.
    Exhausted { sequence: String, last: i64 },
    /// The column has no sequence after all.
    Absent,
}

/// Sets a sequence so that it issues no value that the column holds or SQLite has issued before. It is never set back.
pub async fn set_sequence(session: &Session, plan: &SequencePlan) -> Result<SequenceSet, Fault> {
    let doing = match &plan.source {
        SequenceSource::Column(numbers) => format!("set the sequence of {numbers}"),
        SequenceSource::Setting => "set a sequence".to_owned(),
    };
    let Some(sequence) = sequence_name(session, plan, &doing).await? else { return Ok(SequenceSet::Absent) };
    // What it stands at it has issued, or issues next.
    let sql = format!(
        "select s.seqmax, now.last_value, now.is_called from {sequence} as now, pg_sequence as s where s.seqrelid = $1::text::regclass"
    );
    let state = ask(session, &sql, &[(&sequence, Type::TEXT)], &doing).await?;
    let (limit, stands, is_issued): (i64, i64, bool) = (state.get(0), state.get(1), state.get(2));
    let largest = match &plan.source {
        SequenceSource::Column(numbers) => ask(session, &numbers.largest_sql(), &[], &doing).await?.get(0),
        SequenceSource::Setting => None,
    };
    let reached = [largest, plan.floor, is_issued.then_some(stands)].into_iter().flatten().max();
    let Some(last) = reached.filter(|last| *last >= stands) else { return Ok(SequenceSet::Untouched) };
    // Another column's may have set it meanwhile, where they share it.
    let set = format!(
        "select setval($1::text::regclass, greatest($2, now.last_value), true) from {sequence} as now"
    );
    ask(session, &set, &[(&sequence, Type::TEXT), (&last.min(limit), Type::INT8)], &doing).await?;
    Ok(if last >= limit { SequenceSet::Exhausted { sequence, last } } else { SequenceSet::At(last) })
}

pub async fn analyze(session: &Session, table: &PgName) -> Result<(), Fault> {
    session
        .batch_execute(&format!("analyze {}", table.sql()))
        .await
        .map_err(|error| fault::of(error, format!("analyze table {table}")))
}

async fn sequence_name(session: &Session, plan: &SequencePlan, doing: &str) -> Result<Option<String>, Fault> {
    match (&plan.sequence, &plan.source) {
        (Some(sequence), _) => Ok(Some(sequence.sql())),
        (None, SequenceSource::Setting) => Ok(None),
        (None, SequenceSource::Column(Numbers { table, column, .. })) => {
            // The first argument is read as SQL, the second is a bare name.
            let sql = "select pg_get_serial_sequence($1, $2)";
            ask(session, sql, &[(&table.sql(), Type::TEXT), (column, Type::TEXT)], doing)
                .await
                .map(|row| row.get(0))
        }
    }
}

/// What answers with one row, in one round trip.
async fn ask(
    session: &Session,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
    doing: &str,
) -> Result<Row, Fault> {
    let mut rows = session.query_typed(sql, parameters).await.map_err(|error| fault::of(error, doing))?;
    Ok(rows.pop().expect("there is one row"))
}

/// What all rows of a column tell.
pub async fn reached(session: &Session, numbers: &Numbers) -> Result<Reached, Fault> {
    let doing = format!("read the largest number of {numbers}");
    let row = ask(session, &numbers.reached_sql(), &[], &doing).await?;
    Ok(Reached { largest: row.get(0), has_others: row.get(1) })
}

/// A constraint that new rows are held to, and old ones not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproved {
    pub table: PgName,
    pub name: String,
}

const UNPROVED: &str =
    "select n.nspname::text, c.relname::text, k.conname::text, m.nspname::text, p.relname::text
    from pg_constraint as k
    join pg_class as c on c.oid = k.conrelid join pg_namespace as n on n.oid = c.relnamespace
    left join pg_class as p on p.oid = k.confrelid left join pg_namespace as m on m.oid = p.relnamespace
    where not k.convalidated and k.contype in ('c', 'f') and pg_has_role(c.relowner, 'usage')
    order by 1, 2, 3";

/// Those that came back at the switch without a look at the rows that were there. A foreign key of another table that points at one of
/// `tables` is one of them; another's table, of which we could have taken nothing away, has none.
pub async fn unproved(session: &Session, tables: &[PgName]) -> Result<Vec<Unproved>, Fault> {
    let found = session
        .query(UNPROVED, &[])
        .await
        .map_err(|error| fault::of(error, "look for constraints that are not validated"))?;
    let unproved = |row: &Row| {
        let table = PgName::new(row.get::<_, &str>(0), row.get::<_, &str>(1));
        let parent = row
            .get::<_, Option<&str>>(3)
            .zip(row.get::<_, Option<&str>>(4))
            .map(|(schema, name)| PgName::new(schema, name));
        let ours = tables.contains(&table) || parent.is_some_and(|parent| tables.contains(&parent));
        ours.then(|| Unproved { table, name: row.get(2) })
    };
    Ok(found.iter().filter_map(unproved).collect())
}

/// Reads the table, and lets its writers go on.
pub async fn prove(session: &Session, constraint: &Unproved) -> Result<(), Fault> {
    let (table, name) = (constraint.table.sql(), ident(&constraint.name));
    session
        .batch_execute(&format!("set statement_timeout = 0; set lock_timeout = '1min'; alter table {table} validate constraint {name}"))
        .await
        .map_err(|error| {
            fault::of(error, format!("validate constraint {name} of table {}", constraint.table))
        })
}
