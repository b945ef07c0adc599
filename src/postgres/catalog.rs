//! The catalog of the target: everything that `plan` and the flows must know of a schema, read in a few queries at once.
//!
//! It reads system catalogs and asks of each table whether it has a row; it never writes, and opens no transaction of its own:
//! a caller for whom the schema must stand still calls it inside one.

use super::connect::Session;
use super::fault;
use super::patience::{self, answered};
use super::resolve::{RawType, resolve};
use crate::model::catalog::{
    Catalog, ConstraintKind, Identity, PgColumn, PgConstraint, PgIndex, PgSequence, PgTable, PgTrigger,
    RelationKind,
};
use crate::model::fault::Fault;
use crate::model::name::PgName;
use std::collections::HashMap;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type as Wire};

const DOING: &str = "read the target's catalog";
/// Tables asked for a row in one query: each of them takes a lock, of which a server has few.
const TABLES_AT_ONCE_MAX: usize = 32;
/// Since PostgreSQL 15 the right to set a parameter can be granted.
const PARAMETER_PRIVILEGES_SINCE: u32 = 150_000;
const PRIVILEGES: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES"];

/// Every table of `schema` with what belongs to it. A schema that does not exist is empty.
pub async fn catalog(session: &Session, schema: &str) -> Result<Catalog, Fault> {
    let read = answered(patience::LONG, DOING, read_catalog(session, schema)).await;
    read.map_err(|fault| match fault::refusal(&fault) {
        // These queries name nothing that is not PostgreSQL's own; the one thing that can be gone is who asks.
        Some(refusal) if refusal.sqlstate == UNDEFINED_OBJECT => role_missing(),
        Some(_) | None => session.named_by_lock(fault),
    })
}

const UNDEFINED_OBJECT: &str = "42704";

fn role_missing() -> Fault {
    Fault::fatal("role_missing", DOING)
        .with_remedy("The role of this session was dropped: create it again, or connect as another.")
}

async fn read_catalog(session: &Session, schema: &str) -> Result<Catalog, Fault> {
    let read = |sql: &'static str| read(session, sql, vec![schema]);
    // Sent all at once: the catalog costs the time of its slowest query and not of nine round trips.
    let (server, tables, columns, types, constraints, indexes, triggers, sequences, names) = tokio::try_join!(
        read(include_str!("sql/server.sql")),
        read(include_str!("sql/tables.sql")),
        read(include_str!("sql/columns.sql")),
        read(include_str!("sql/types.sql")),
        read(include_str!("sql/constraints.sql")),
        read(include_str!("sql/indexes.sql")),
        read(include_str!("sql/triggers.sql")),
        read(include_str!("sql/sequences.sql")),
        read(include_str!("sql/names.sql")),
    )?;
    let mut catalog = of_server(&server, schema)?;
    catalog.may_set_replication_role =
        catalog.superuser || may_set_replication_role(session, catalog.version_num).await?;
    catalog.relation_names = names.iter().map(|line| line.get("name")).collect::<Result<_, _>>()?;
    let mut found = Found::of_tables(&tables, schema)?;
    found.add_columns(&columns, &types)?;
    found.add_indexes(&indexes, schema)?;
    found.add_triggers(&triggers)?;
    catalog.foreign_keys_from_outside = found.add_constraints(&constraints)?;
    catalog.sequences = found.add_sequences(&sequences)?;
    found.look_for_rows(session).await?;
    catalog.tables = found.tables;
    Ok(catalog)
}

/// One row of a query, whose columns are read by name.
struct Line(Row);

impl Line {
    fn get<'a, T: FromSql<'a>>(&'a self, column: &str) -> Result<T, Fault> {
        self.0.try_get(column).map_err(|error| fault::of(error, DOING))
    }

    /// A column of PostgreSQL's type "char", cast to text: one letter, or empty.
    fn letter(&self, column: &str) -> Result<char, Fault> {
        Ok(self.get::<&str>(column)?.chars().next().unwrap_or(' '))
    }

    fn name(&self, schema: &str, name: &str) -> Result<Option<PgName>, Fault> {
        let name: Option<String> = self.get(name)?;
        let schema: Option<String> = self.get(schema)?;
        Ok(schema.zip(name).map(|(schema, name)| PgName { schema, name }))
    }
}

/// Unnamed statements only: a pooler may hand each query to another server process.
async fn read(session: &Session, sql: &'static str, texts: Vec<&str>) -> Result<Vec<Line>, Fault> {
    let texts: Vec<(&(dyn ToSql + Sync), Wire)> =
        texts.iter().map(|text| (text as &(dyn ToSql + Sync), Wire::TEXT)).collect();
    let rows = session.query_typed(sql, &texts).await.map_err(|error| fault::of(error, DOING))?;
    Ok(rows.into_iter().map(Line).collect())
}

fn of_server(lines: &[Line], schema: &str) -> Result<Catalog, Fault> {
    let [line] = lines else { return Err(role_missing()) };
    Ok(Catalog {
        version_num: u32::try_from(line.get::<i32>("version_num")?).unwrap_or(0),
        server_encoding: line.get("server_encoding")?,
        database: line.get("database")?,
        role: line.get("role")?,
        superuser: line.get("superuser")?,
        schema_exists: line.get("schema_exists")?,
        may_create_in_schema: line.get("may_create_in_schema")?,
        may_keep_state: line.get("may_keep_state")?,
        citext_schema: line.get("citext_schema")?,
        event_triggers: line.get("event_triggers")?,
        read_only: line.get("read_only")?,
        schema: schema.to_owned(),
        ..Catalog::default()
    })
}

async fn may_set_replication_role(session: &Session, version_num: u32) -> Result<bool, Fault> {
    if version_num < PARAMETER_PRIVILEGES_SINCE {
        return Ok(false);
    }
    let lines = read(session, include_str!("sql/replication_role.sql"), Vec::new()).await?;
    lines.first().map_or(Ok(false), |line| line.get("granted"))
}

/// The tables as they fill up, query by query. What belongs to a table that an earlier query did not see is passed over: it was
/// made in between, and the next reading will see all of it.
struct Found {
    tables: Vec<PgTable>,
    by_oid: HashMap<u32, usize>,
    /// Indexes of the tables that may be asked for their rows.
    readable: Vec<usize>,
}

impl Found {
    fn of_tables(lines: &[Line], schema: &str) -> Result<Found, Fault> {
        let mut found = Found { tables: Vec::new(), by_oid: HashMap::new(), readable: Vec::new() };
        for line in lines {
            let kind = match line.letter("kind")? {
                'r' => RelationKind::Table,
                'p' => RelationKind::Partitioned,
                'v' => RelationKind::View,
                'm' => RelationKind::MaterializedView,
                _ => RelationKind::Foreign,
            };
            let missing: Vec<String> = line.get("missing_privileges")?;
            let missing = PRIVILEGES.into_iter().filter(|word| missing.iter().any(|missing| missing == word));
            let missing_privileges: Vec<&'static str> = missing.collect();
            let stores = matches!(kind, RelationKind::Table | RelationKind::Partitioned);
            let hidden = line.get("row_security")? || missing_privileges.contains(&"SELECT");
            let at = found.tables.len();
            found.by_oid.insert(line.get("oid")?, at);
            if stores && !hidden {
                found.readable.push(at);
            }
            found.tables.push(PgTable {
                name: PgName::new(schema, line.get::<String>("name")?),
                kind,
                owned: line.get("owned")?,
                columns: Vec::new(),
                constraints: Vec::new(),
                indexes: Vec::new(),
                triggers: Vec::new(),
                rules: line.get("rules")?,
                unlogged: line.get("unlogged")?,
                unidentified: line.get("unidentified")?,
                row_security: line.get("row_security")?,
                is_partition: line.get("is_partition")?,
                parents: line.get("parents")?,
                row_security_forced: line.get("row_security_forced")?,
                missing_privileges,
                // Until somebody has looked rows are assumed: that is the side on which nothing is overwritten.
                has_rows: stores,
            });
        }
        Ok(found)
    }

    fn table(&mut self, oid: u32) -> Option<&mut PgTable> {
        self.by_oid.get(&oid).map(|at| &mut self.tables[*at])
    }

    fn add_columns(&mut self, lines: &[Line], types: &[Line]) -> Result<(), Fault> {
        let types = types.iter().map(raw_type).collect::<Result<HashMap<_, _>, _>>()?;
        for line in lines {
            let Some(table) = self.table(line.get("table_oid")?) else { continue };
            let type_oid = line.get("type_oid")?;
            let type_name: String = line.get("type_name")?;
            let resolved = resolve(&types, type_oid, line.get("typmod")?, &type_name);
            table.columns.push(PgColumn {
                name: line.get("name")?,
                ty: resolved.ty,
                type_oid,
                type_name,
                domain: resolved.domain,
                domain_has_checks: resolved.domain_has_checks,
                not_null: line.get("not_null")? || resolved.domain_not_null,
                default: line.get("expression")?,
                identity: match line.letter("identity")? {
                    'a' => Identity::Always,
                    'd' => Identity::ByDefault,
                    _ => Identity::No,
                },
                generated: line.get("generated")?,
                collation_deterministic: line.get("collation_deterministic")?,
                sequence: None,
            });
        }
        Ok(())
    }

    fn add_indexes(&mut self, lines: &[Line], schema: &str) -> Result<(), Fault> {
        for line in lines {
            let Some(table) = self.table(line.get("table_oid")?) else { continue };
            let columns: Vec<Option<String>> = line.get("columns")?;
            table.indexes.push(PgIndex {
                name: PgName::new(schema, line.get::<String>("name")?),
                unique: line.get("is_unique")?,
                primary: line.get("is_primary")?,
                definition: line.get("definition")?,
                columns: columns.into_iter().collect(),
                partial: line.get("is_partial")?,
                valid: line.get("is_valid")?,
                nulls_not_distinct: line.get("nulls_not_distinct")?,
            });
        }
        Ok(())
    }

    fn add_triggers(&mut self, lines: &[Line]) -> Result<(), Fault> {
        for line in lines {
            let Some(table) = self.table(line.get("table_oid")?) else { continue };
            table.triggers.push(PgTrigger {
                name: line.get("name")?,
                before: line.get("is_before")?,
                enabled: line.letter("enabled")?,
            });
        }
        Ok(())
    }

    /// Gives back the foreign keys that come from other schemas.
    fn add_constraints(&mut self, lines: &[Line]) -> Result<Vec<PgConstraint>, Fault> {
        let mut from_outside = Vec::new();
        for line in lines {
            let Some(name) = line.name("table_schema", "table_name")? else { continue };
            let kind = match line.letter("kind")? {
                'p' => ConstraintKind::Primary,
                'u' => ConstraintKind::Unique,
                'c' => ConstraintKind::Check,
                'f' => ConstraintKind::Foreign,
                'x' => ConstraintKind::Exclusion,
                _ => ConstraintKind::Other,
            };
            let constraint = PgConstraint {
                table: name,
                owned: line.get("owned")?,
                name: line.get("name")?,
                kind,
                definition: line.get("definition")?,
                comment: line.get("comment")?,
                columns: line.get("columns")?,
                parent: line.name("parent_schema", "parent_name")?,
                deferrable: line.get("deferrable")?,
            };
            if line.get("from_outside")? {
                from_outside.push(constraint);
            } else if let Some(table) = self.table(line.get("table_oid")?) {
                table.constraints.push(constraint);
            }
        }
        Ok(from_outside)
    }

    /// Gives back each sequence once; the lines hold it once a use, the surest use of a column before the others.
    fn add_sequences(&mut self, lines: &[Line]) -> Result<Vec<PgSequence>, Fault> {
        let mut sequences: Vec<PgSequence> = Vec::new();
        let mut known: HashMap<PgName, usize> = HashMap::new();
        for line in lines {
            let Some(name) = line.name("schema", "name")? else { continue };
            let table = line.name("table_schema", "table_name")?;
            let column: Option<String> = line.get("column_name")?;
            let table_oid: Option<u32> = line.get("table_oid")?;
            let mut holds_numbers = true;
            if let Some(table) = table_oid.and_then(|oid| self.table(oid)) {
                let filled = table.columns.iter_mut().find(|filled| Some(&filled.name) == column.as_ref());
                if let Some(filled) = filled {
                    holds_numbers = filled.is_number();
                    if holds_numbers {
                        filled.sequence.get_or_insert_with(|| name.clone());
                    }
                }
            }
            let is_by_name: bool = line.get("is_by_name")?;
            let used = table.zip(column).filter(|_| !is_by_name);
            let (column, part_of) = if holds_numbers { (used, None) } else { (None, used) };
            if let Some(at) = known.get(&name) {
                let known = &mut sequences[*at];
                known.column = known.column.take().or(column);
                continue;
            }
            known.insert(name.clone(), sequences.len());
            sequences.push(PgSequence {
                name,
                last_value: line.get("last_value")?,
                max: line.get("max")?,
                increment: line.get("increment")?,
                missing_privileges: line.get("missing_privileges")?,
                column,
                part_of,
            });
        }
        Ok(sequences)
    }

    async fn look_for_rows(&mut self, session: &Session) -> Result<(), Fault> {
        for part in self.readable.chunks(TABLES_AT_ONCE_MAX) {
            let looks = part.iter().map(|at| format!("exists (select from {})", self.tables[*at].name.sql()));
            let sql = format!("select array[{}] as has_rows", looks.collect::<Vec<_>>().join(", "));
            let rows = session.query_typed(&sql, &[]).await.map_err(|error| fault::of(error, DOING))?;
            let answers = rows
                .into_iter()
                .next()
                .map_or(Ok(Vec::new()), |row| Line(row).get::<Vec<bool>>("has_rows"))?;
            for (at, has_rows) in part.iter().zip(answers) {
                self.tables[*at].has_rows = has_rows;
            }
        }
        Ok(())
    }
}

fn raw_type(line: &Line) -> Result<(u32, RawType), Fault> {
    let oid = line.get("oid")?;
    let raw = RawType {
        oid,
        name: line.get("name")?,
        sql_name: line.get("sql_name")?,
        kind: line.get("kind")?,
        base_oid: line.get("base_oid")?,
        base_typmod: line.get("base_typmod")?,
        not_null: line.get("not_null")?,
        has_checks: line.get("has_checks")?,
        element_oid: line.get("element_oid")?,
        labels: line.get("labels")?,
        extension: line.get("extension")?,
    };
    Ok((oid, raw))
}
