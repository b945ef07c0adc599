//! What of the target would turn rows away, change them or hide them: found beforehand, with the statement that mends it.
//!
//! It judges the catalog as it was read and never mends anything itself.

use super::mapping::{Counterpart, MappedTable};
use crate::model::catalog::{Catalog, ConstraintKind, PgColumn, PgTable, RelationKind};
use crate::model::finding::Finding;
use crate::model::name::{PgName, ident};
use crate::model::types::Type;
use crate::plan::TableRole;
use crate::plan::overrides::ExistingRows;

const VERSION_MIN: u32 = 130_000;

/// What holds for the server and the database as a whole.
pub(super) fn server(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    let database = catalog.database.as_str();
    if catalog.version_num < VERSION_MIN {
        let text = format!("PostgreSQL {} is too old", catalog.version_num / 10_000);
        let remedy = format!("use PostgreSQL {} or newer", VERSION_MIN / 10_000);
        findings.push(Finding::blocker("target_version", database, text).with_remedy(remedy));
    }
    if !catalog.server_encoding.eq_ignore_ascii_case("UTF8") {
        let text =
            format!("the database is encoded in {}, which cannot hold every text", catalog.server_encoding);
        let remedy = "create a database with encoding 'UTF8' and run the application's migrations in it";
        findings.push(Finding::blocker("target_encoding", database, text).with_remedy(remedy));
    }
    if catalog.read_only {
        let text = "the server takes no writes: it is a standby, or default_transaction_read_only is on";
        let remedy = "connect to the primary, or: alter role … set default_transaction_read_only = off;";
        findings.push(Finding::blocker("target_read_only", database, text).with_remedy(remedy));
    }
    if !catalog.schema_exists {
        let text = "the target has no such schema";
        let remedy = "run the application's migrations against the target first, or name its schema in [target] schema";
        findings.push(Finding::blocker("schema_missing", &catalog.schema, text).with_remedy(remedy));
    }
    findings
}

/// What holds for one table that rows are to go into, or that is to be compared.
pub(super) fn table(
    mapped: &MappedTable<'_>,
    role: TableRole,
    catalog: &Catalog,
    existing_rows: ExistingRows,
) -> Vec<Finding> {
    let target = mapped.target;
    let mut findings = Vec::new();
    findings.extend(relation_kind(target));
    findings.extend(privileges(target, role, catalog, existing_rows));
    findings.extend(row_security(target, catalog));
    match role {
        TableRole::Compared => {}
        TableRole::Copied => {
            findings.extend(target.rules.iter().map(|rule| rewrite_rule(target, rule)));
            findings.extend(unlike_equality(mapped));
            findings.extend(stricter_uniqueness(target));
            findings.extend(unlogged(target));
            findings.extend(unidentified(target));
        }
    }
    findings
}

/// A table whose rows are another's too: what is read, counted, emptied or deleted there is this one's as well.
pub(super) fn seen_twice(copied: &[&PgTable], catalog: &Catalog) -> Vec<Finding> {
    let above = |child: &PgTable| {
        let mut found: Vec<&str> = child.parents.iter().map(String::as_str).collect();
        let mut at = 0;
        while let Some(name) = found.get(at).copied() {
            let further = catalog.table(name).into_iter().flat_map(|table| &table.parents);
            let further: Vec<&str> =
                further.map(String::as_str).filter(|name| !found.contains(name)).collect();
            found.extend(further);
            at += 1;
        }
        found.into_iter().find_map(|name| copied.iter().find(|table| table.name.name == name).copied())
    };
    let told = |child: &&PgTable| {
        let parent = above(child)?;
        let (name, excluded) = (&child.name, format!("[tables] exclude = [\"{}\"]", child.name.name));
        let (how, remedy) = match child.parents.first().filter(|_| !child.is_partition) {
            Some(direct) => {
                let direct = PgName::new(&catalog.schema, direct);
                let apart = format!("alter table {} no inherit {};", name.sql(), direct.sql());
                (
                    "inherits from",
                    format!("{apart} (its columns and rows stay); or leave one of the two out: {excluded}"),
                )
            }
            None => ("is a part of", format!("leave one of the two out: {excluded}")),
        };
        let text = format!(
            "this table {how} {}, which rows go into as well: its rows are seen there too, and would be deleted as that one's",
            parent.name
        );
        Some(Finding::blocker("target_inherited", name.to_string(), text).with_remedy(remedy))
    };
    copied.iter().filter_map(told).collect()
}

fn relation_kind(target: &PgTable) -> Option<Finding> {
    let kind = match target.kind {
        RelationKind::Table | RelationKind::Partitioned => return None,
        RelationKind::View => "a view",
        RelationKind::MaterializedView => "a materialized view",
        RelationKind::Foreign => "a foreign table",
    };
    let text = format!("the target has {kind} of this name, not a table");
    let remedy = format!("leave it out: [tables] exclude = [\"{}\"]", target.name.name);
    Some(Finding::blocker("target_not_a_table", target.name.to_string(), text).with_remedy(remedy))
}

fn privileges(
    target: &PgTable,
    role: TableRole,
    catalog: &Catalog,
    existing_rows: ExistingRows,
) -> Option<Finding> {
    // Whether REFERENCES is needed is told by the foreign keys.
    let needed = |privilege: &str| match (role, privilege) {
        (TableRole::Compared, _) => privilege == "SELECT",
        (TableRole::Copied, "REFERENCES") => false,
        (TableRole::Copied, "TRUNCATE") => existing_rows == ExistingRows::Replace,
        (TableRole::Copied, _) => true,
    };
    let missing: Vec<String> = target
        .missing_privileges
        .iter()
        .filter(|privilege| needed(privilege))
        .map(|privilege| privilege.to_ascii_lowercase())
        .collect();
    if missing.is_empty() {
        return None;
    }
    let missing = missing.join(", ");
    let text = format!("role {} lacks {missing}", catalog.role);
    let remedy = format!("grant {missing} on {} to {};", target.name.sql(), ident(&catalog.role));
    Some(Finding::blocker("privilege_missing", target.name.to_string(), text).with_remedy(remedy))
}

/// Row security hides rows from a role without a word: statements would find nothing, and the proof would compare too little.
fn row_security(target: &PgTable, catalog: &Catalog) -> Option<Finding> {
    let binds = target.row_security && !catalog.superuser && (target.row_security_forced || !target.owned);
    if !binds {
        return None;
    }
    let table = target.name.sql();
    let role = ident(&catalog.role);
    let remedy = if target.owned {
        format!(
            "alter table {table} no force row level security; or, by a superuser: alter role {role} bypassrls;"
        )
    } else {
        format!(
            "alter table {table} disable row level security; or, by a superuser: alter role {role} bypassrls;"
        )
    };
    let text = format!("row security hides rows of this table from role {}", catalog.role);
    Some(Finding::blocker("row_security", target.name.to_string(), text).with_remedy(remedy))
}

fn unlogged(target: &PgTable) -> Option<Finding> {
    if target.unlogged.is_empty() {
        return None;
    }
    let text = "the table, or a part of it, is UNLOGGED: after PostgreSQL has crashed it is empty, and nothing tells but the next validation";
    let remedy: Vec<String> =
        target.unlogged.iter().map(|name| format!("alter table {name} set logged;")).collect();
    Some(Finding::warning("target_unlogged", target.name.to_string(), text).with_remedy(remedy.join(" ")))
}

fn unidentified(target: &PgTable) -> Option<Finding> {
    if target.unidentified.is_empty() {
        return None;
    }
    let text = "a publication publishes updates or deletes of the table, or of a part of it, which has neither a primary key nor another replica \
                identity: PostgreSQL refuses them, to whoever follows SQLite and to the application after the switch";
    let statement = |name: &String| format!("alter table {name} replica identity full;");
    let remedy: Vec<String> = target.unidentified.iter().map(statement).collect();
    let found = Finding::warning("replica_identity_missing", target.name.to_string(), text);
    Some(found.with_remedy(remedy.join(" ")))
}

fn rewrite_rule(target: &PgTable, rule: &str) -> Finding {
    let text = format!("rule {rule} rewrites what is written to this table");
    let remedy = format!(
        "alter table {} disable rule {}; and enable it again after the migration",
        target.name.sql(),
        ident(rule)
    );
    Finding::blocker("rewrite_rule", target.name.to_string(), text).with_remedy(remedy)
}

/// Key columns for which the target takes different values as equal.
fn unlike_equality<'a>(mapped: &'a MappedTable<'a>) -> impl Iterator<Item = Finding> + 'a {
    let target = mapped.target;
    let is_key = |column: &PgColumn| {
        let names =
            target.indexes.iter().filter(|index| index.unique).filter_map(|index| index.columns.as_ref());
        names.flatten().any(|name| *name == column.name)
    };
    let filled = mapped.columns.iter().filter_map(|column| match column.counterpart {
        Counterpart::Column(target) => Some(target),
        Counterpart::Missing | Counterpart::Excluded => None,
    });
    let loose = |column: &&PgColumn| !column.collation_deterministic || column.ty == Type::Citext;
    filled.filter(loose).filter(move |column| is_key(column)).map(|column| {
        let subject = format!("{}.{}", target.name, column.name);
        let text = "the target takes values of this key column as equal that SQLite may tell apart, such as a and A: \
                    of two such rows the second is refused and goes to the ledger";
        Finding::warning("collation_nondeterministic", subject, text)
    })
}

fn stricter_uniqueness(target: &PgTable) -> impl Iterator<Item = Finding> {
    let nulls = target.indexes.iter().filter(|index| index.unique && index.nulls_not_distinct).map(|index| {
        let text = format!("index {} lets NULL stand only once, SQLite any number of times", index.name.name);
        Finding::warning("nulls_not_distinct", target.name.to_string(), text)
    });
    let exclusions =
        target.constraints.iter().filter(|constraint| constraint.kind == ConstraintKind::Exclusion);
    nulls.chain(exclusions.map(|constraint| {
        let text = format!(
            "exclusion constraint {} has no counterpart in SQLite and may refuse rows: {}",
            constraint.name, constraint.definition
        );
        Finding::warning("exclusion_constraint", target.name.to_string(), text)
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::{Case, constraint, expect, expect_codes};
    use super::*;
    use crate::model::finding::Severity;
    use crate::model::finding::Severity::{Blocker, Warning};

    #[test]
    fn the_server_must_be_able_to_hold_the_rows() {
        let check = |change: fn(&mut Catalog), code: &str, says: &str| {
            let mut case = Case::new();
            change(&mut case.catalog);
            expect(&case.plan(), Blocker, code, says);
        };
        check(|catalog| catalog.version_num = 120_022, "target_version", "PostgreSQL 12");
        check(|catalog| catalog.server_encoding = "SQL_ASCII".into(), "target_encoding", "SQL_ASCII");
        check(|catalog| catalog.read_only = true, "target_read_only", "standby");
        check(|catalog| catalog.schema_exists = false, "schema_missing", "public");
    }

    #[test]
    fn the_target_table_must_take_rows_as_they_are() {
        let check = |change: fn(&mut PgTable), severity: Severity, code: &str, says: &str| {
            let mut case = Case::new();
            change(case.table());
            expect(&case.plan(), severity, code, says);
        };
        check(|table| table.kind = RelationKind::View, Blocker, "target_not_a_table", "a view");
        check(|table| table.kind = RelationKind::Foreign, Blocker, "target_not_a_table", "a foreign table");
        check(
            |table| table.missing_privileges = vec!["INSERT", "UPDATE"],
            Blocker,
            "privilege_missing",
            "grant insert, update on \"public\".\"t\" to \"mover\";",
        );
        check(
            |table| (table.row_security, table.owned) = (true, false),
            Blocker,
            "row_security",
            "alter table \"public\".\"t\" disable row level security;",
        );
        check(
            |table| (table.row_security, table.row_security_forced) = (true, true),
            Blocker,
            "row_security",
            "alter table \"public\".\"t\" no force row level security;",
        );
        check(|table| table.rules = vec!["r".into()], Blocker, "rewrite_rule", "disable rule \"r\"");
        check(
            |table| table.columns[0].collation_deterministic = false,
            Warning,
            "collation_nondeterministic",
            "public.t.id",
        );
        check(
            |table| table.indexes[0].nulls_not_distinct = true,
            Warning,
            "nulls_not_distinct",
            "NULL stand only once",
        );
        check(
            |table| table.constraints.push(constraint("t", "x", ConstraintKind::Exclusion, "EXCLUDE …")),
            Warning,
            "exclusion_constraint",
            "EXCLUDE …",
        );
    }

    #[test]
    fn row_security_does_not_bind_owner_or_superuser() {
        let mut case = Case::new();
        case.table().row_security = true;
        expect_codes(&case.plan(), &[]);
        case.table().row_security_forced = true;
        case.catalog.superuser = true;
        expect_codes(&case.plan(), &[]);
    }

    #[test]
    fn truncate_is_asked_for_only_where_rows_are_replaced() {
        let mut case = Case::new();
        case.table().missing_privileges = vec!["TRUNCATE"];
        expect_codes(&case.plan(), &[]);
        case.overrides.existing_rows = ExistingRows::Replace;
        expect(&case.plan(), Blocker, "privilege_missing", "grant truncate");
    }
}
