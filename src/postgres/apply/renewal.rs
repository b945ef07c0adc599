//! A table of which much has changed: it is emptied, and copied anew in the same transaction. Whoever reads it waits meanwhile.

use super::writer::Writer;
use crate::link::RENEWAL_REFUSED;
use crate::model::fault::{Fault, FaultClass};
use crate::plan::route::Route;
use crate::postgres::ledger;
use crate::postgres::patience::answered;
use crate::postgres::types;
use tokio_postgres::types::ToSql;

/// Not where its children would be emptied too, which hold rows of others; where it has columns that the source does not know; nor where a
/// subscriber would not hear of it.
const MAY_BE_EMPTIED: &str = "select (c.relkind = 'p' or not c.relhassubclass) and not exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attname <> all($2)
    ) and not exists (
        select from pg_catalog.pg_publication_tables as t join pg_catalog.pg_publication as p on p.pubname = t.pubname
        where not p.pubtruncate and t.schemaname = n.nspname and t.tablename = c.relname)
    from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where c.oid = $1::text::regclass";

/// Indexes that no row can break, and that are all that their definition says: their name, and what makes them again. Row by row they would
/// take longer than the rows.
const INDEXES: &str = "select pg_catalog.format('%I.%I', n.nspname, own.relname), pg_catalog.pg_get_indexdef(i.indexrelid)
    from pg_catalog.pg_index as i
    join pg_catalog.pg_class as own on own.oid = i.indexrelid join pg_catalog.pg_namespace as n on n.oid = own.relnamespace
    join pg_catalog.pg_class as c on c.oid = i.indrelid
    where i.indrelid = $1::text::regclass and c.relkind = 'r' and not c.relispartition and pg_catalog.pg_has_role(c.relowner, 'USAGE')
    and i.indisvalid and not i.indisunique and not i.indisexclusion and not i.indisclustered
    and i.indexprs is null and i.indpred is null and own.reltablespace = 0
    and not exists (select from pg_catalog.pg_description where classoid = 'pg_catalog.pg_class'::regclass and objoid = own.oid)";

/// Who reads the table holds us up, and we hold up who comes after him. An autovacuum gives way after one second.
const LOCK_WAIT: &str = "1500ms";

/// What a table that was emptied needs once all its rows are there.
pub struct Renewal {
    source: String,
    /// What makes its indexes again.
    indexes: Vec<String>,
    /// The newest entry that the ledger had of it.
    entry: i64,
}

/// Empties the table. The batch is over where that cannot be.
pub async fn begin(writer: &Writer, route: &Route) -> Result<Renewal, Fault> {
    let (target, doing) = (route.target.sql(), format!("empty table {}", route.target));
    let columns: Vec<&str> = route.columns.iter().map(|column| column.target.as_str()).collect();
    let named: [&(dyn ToSql + Sync); 2] = [&target, &columns];
    let asked = writer.answer(&doing, writer.session.query_one(MAY_BE_EMPTIED, &named)).await?;
    if !asked.get::<_, bool>(0) {
        return Err(refused(&doing));
    }
    let sql = format!(
        "set local lock_timeout = '{LOCK_WAIT}'; lock table {target} in access exclusive mode; truncate table {target}"
    );
    // It is held on to, referred to, or not ours to empty.
    ran(writer, &sql, &doing).await?;
    // Nobody alters it any more.
    answered(writer.patience, &doing, types::confirm(&writer.session, &target, route, &doing)).await?;
    let indexes = writer.answer(&doing, writer.session.query(INDEXES, &[&target])).await?;
    for index in &indexes {
        ran(writer, &format!("drop index {}", index.get::<_, &str>(0)), &doing).await?;
    }
    let of_table: [&(dyn ToSql + Sync); 2] = [&writer.ownership.migration, &route.source];
    let newest = writer.answer(&doing, writer.session.query_one(ledger::NEWEST, &of_table)).await?;
    let indexes = indexes.iter().map(|index| index.get(1)).collect();
    Ok(Renewal { source: route.source.clone(), indexes, entry: newest.get(0) })
}

impl Renewal {
    /// Makes the indexes again, and leaves of the ledger what the rows call for now: an entry that they called for before stays, and with
    /// it who accepted it.
    pub async fn end(&self, writer: &Writer) -> Result<(), Fault> {
        for sql in &self.indexes {
            // A value may be too long for it.
            ran(writer, sql, "build an index anew").await?;
        }
        let of_table: [&(dyn ToSql + Sync); 3] = [&writer.ownership.migration, &self.source, &self.entry];
        for sql in [ledger::DELETE_OUTDATED, ledger::DELETE_REPEATED] {
            writer.answer("sort out the ledger", writer.session.execute(sql, &of_table)).await?;
        }
        Ok(())
    }
}

/// What the server says no to refuses the renewal.
async fn ran(writer: &Writer, sql: &str, doing: &str) -> Result<(), Fault> {
    writer.run(sql, doing).await.map_err(|fault| match writer.session.is_closed() {
        true => fault,
        false => refused(doing).with_source(fault),
    })
}

fn refused(doing: &str) -> Fault {
    Fault::new(FaultClass::Transient, RENEWAL_REFUSED, doing)
        .with_remedy("The table's changes are applied key by key instead.")
}
