//! Constraints and triggers that would disturb the load: taken away before it, given back after it, word for word.
//!
//! Foreign keys and CHECKs are dropped and added again by the catalog's own definition, triggers disabled and enabled again
//! in the state they had. Unique constraints stay. Nothing is touched in a table that no row goes into, unless its foreign
//! key stands in the way of rows that are to be replaced.

use super::definition::rereadable;
use crate::model::catalog::{Catalog, ConstraintKind, PgConstraint, PgTable, PgTrigger, RelationKind};
use crate::model::finding::Finding;
use crate::model::name::{PgName, ident, literal};
use crate::plan::overrides::ExistingRows;
use crate::plan::{Plan, Statement, Suspended, TableRole, reverse};
use std::collections::BTreeSet;

/// Since this version a foreign key of a partitioned table may be NOT VALID.
const PARTITIONED_NOT_VALID: u32 = 180_000;
/// Since this version `session_replication_role` can be granted.
const GRANTABLE_PARAMETERS: u32 = 150_000;

#[derive(Debug, Default)]
pub(super) struct Suspension {
    pub suspended: Vec<Suspended>,
    pub findings: Vec<Finding>,
}

/// How a table's constraints and triggers can be silenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Alter,
    /// Not ours to alter, but the sessions that load may be replicas, in which triggers and foreign keys rest.
    ReplicaSession,
    None,
}

/// `copied`: the target tables that rows go into.
pub(super) fn suspension(copied: &[&PgTable], catalog: &Catalog, existing_rows: ExistingRows) -> Suspension {
    let mut out = Suspension::default();
    for table in copied.iter().filter(|table| is_disturbing(table)) {
        match means(table, copied, catalog) {
            Means::Alter => suspend_table(table, catalog, &mut out),
            Means::ReplicaSession => out.findings.push(replica_session(table)),
            Means::None => out.findings.push(not_owner(table, copied, catalog)),
        }
    }
    let touched: Vec<&PgTable> = match existing_rows {
        ExistingRows::Refuse => Vec::new(),
        ExistingRows::Replace | ExistingRows::Merge => {
            copied.iter().copied().filter(|table| table.has_rows).collect()
        }
    };
    suspend_from_outside(&touched, copied, catalog, &mut out);
    out
}

/// Whether the sessions that load have to set `session_replication_role` to `replica`: a table with foreign keys or triggers
/// is not ours to alter, and `plan` found that the role may do so.
pub fn needs_replica_sessions(plan: &Plan, catalog: &Catalog) -> bool {
    plan.tables.iter().filter(|table| table.role == TableRole::Copied).any(|planned| {
        let target = catalog.tables.iter().find(|table| table.name == planned.route.target);
        target.is_some_and(|table| is_disturbing(table) && !is_alterable(table, catalog))
    })
}

/// What disturbs the apply on these tables as they stand now, and is ours to take away. What is liteferry's own stays.
pub fn suspended_now(tables: &[&PgTable], catalog: &Catalog) -> Vec<Suspended> {
    let mut out = Suspension::default();
    for table in tables.iter().filter(|table| is_disturbing(table) && is_alterable(table, catalog)) {
        suspend_table(table, catalog, &mut out);
    }
    let others = catalog.tables.iter().filter(|other| tables.iter().all(|table| table.name != other.name));
    for other in others.filter(|other| is_alterable(other, catalog)) {
        let keys = disturbing_constraints(other).filter(|key| points_at(key, tables));
        out.suspended.extend(keys.map(|key| suspended_constraint(key, Validity::of(other, catalog))));
    }
    out.suspended
}

/// Foreign keys of other schemas.
pub fn suspended_beyond(tables: &[&PgTable], catalog: &Catalog) -> Vec<Suspended> {
    let keys = catalog.foreign_keys_from_outside.iter().filter(|key| key.owned && points_at(key, tables));
    keys.map(|key| suspended_constraint(key, Validity::MayWait)).collect()
}

pub(super) fn points_at(constraint: &PgConstraint, tables: &[&PgTable]) -> bool {
    let parent = constraint.parent.as_ref();
    constraint.kind == ConstraintKind::Foreign
        && parent.is_some_and(|parent| tables.iter().any(|table| table.name == *parent))
}

pub(super) fn is_alterable(table: &PgTable, catalog: &Catalog) -> bool {
    table.owned || catalog.superuser
}

fn is_disturbing(table: &PgTable) -> bool {
    disturbing_constraints(table).next().is_some() || disturbing_triggers(table).next().is_some()
}

fn disturbing_constraints(table: &PgTable) -> impl Iterator<Item = &PgConstraint> {
    table.constraints.iter().filter(|constraint| match constraint.kind {
        ConstraintKind::Foreign | ConstraintKind::Check => !constraint.definition.ends_with("NOT ENFORCED"),
        ConstraintKind::Primary | ConstraintKind::Unique => false,
        ConstraintKind::Exclusion | ConstraintKind::Other => false,
    })
}

fn disturbing_triggers(table: &PgTable) -> impl Iterator<Item = &PgTrigger> {
    table
        .triggers
        .iter()
        .filter(|trigger| trigger.enabled != 'D' && !reverse::TRIGGERS.contains(&trigger.name.as_str()))
}

fn means(table: &PgTable, copied: &[&PgTable], catalog: &Catalog) -> Means {
    if is_alterable(table, catalog) {
        Means::Alter
    } else if catalog.may_set_replication_role && replica_session_obstacle(table, copied).is_none() {
        Means::ReplicaSession
    } else {
        Means::None
    }
}

/// Why a replica session would not do: it leaves deferrable unique constraints unchecked, and triggers made for it fire.
/// CHECKs stay awake in it, but they refuse aloud.
fn replica_session_obstacle(table: &PgTable, copied: &[&PgTable]) -> Option<String> {
    let deferrable_unique = |constraint: &&PgConstraint| match constraint.kind {
        ConstraintKind::Primary | ConstraintKind::Unique => constraint.deferrable,
        ConstraintKind::Check | ConstraintKind::Foreign => false,
        ConstraintKind::Exclusion | ConstraintKind::Other => constraint.deferrable,
    };
    let deferrable = copied.iter().flat_map(|table| &table.constraints).find(deferrable_unique);
    let trigger = disturbing_triggers(table).find(|trigger| trigger.enabled != 'O');
    deferrable
        .map(|constraint| format!("constraint {} of {}", constraint.name, constraint.table))
        .or_else(|| trigger.map(|trigger| format!("trigger {}", trigger.name)))
}

fn suspend_table(table: &PgTable, catalog: &Catalog, out: &mut Suspension) {
    let validity = Validity::of(table, catalog);
    out.suspended
        .extend(disturbing_constraints(table).map(|constraint| suspended_constraint(constraint, validity)));
    out.suspended.extend(disturbing_triggers(table).map(|trigger| suspended_trigger(&table.name, trigger)));
    for kind in KINDS_SUSPENDED {
        let rests = match kind {
            Rests::Constraints(_, kind) => disturbing_constraints(table).any(|found| found.kind == kind),
            Rests::Triggers => disturbing_triggers(table).next().is_some(),
        };
        out.findings.extend(rests.then(|| suspended_for_the_load(kind, table)));
    }
    out.findings.extend(
        disturbing_constraints(table).filter_map(|constraint| references_needed(constraint, catalog)),
    );
}

/// What is told of at once, in the same words for each table: a schema has hundreds of constraints, and `check --sql` names each.
#[derive(Clone, Copy)]
enum Rests {
    Constraints(&'static str, ConstraintKind),
    Triggers,
}

const KINDS_SUSPENDED: [Rests; 3] = [
    Rests::Constraints("foreign keys", ConstraintKind::Foreign),
    Rests::Constraints("CHECKs", ConstraintKind::Check),
    Rests::Triggers,
];

fn suspended_for_the_load(kind: Rests, table: &PgTable) -> Finding {
    let (what, remedy) = match kind {
        Rests::Constraints(what, _) => (what, BROKEN_BY_ROWS),
        Rests::Triggers => ("triggers", ""),
    };
    let text =
        format!("{what} are suspended during the load and given back after it (`check --sql` names each)");
    Finding::note("constraints_suspended", table.name.to_string(), text).with_remedy(remedy)
}

const BROKEN_BY_ROWS: &str = "a constraint that the rows break comes back NOT VALID; find them, mend them, then: alter table … validate \
                              constraint …;";

/// A foreign key can be dropped by its table's owner, but given back only by a role that may reference the parent.
pub(super) fn references_needed(constraint: &PgConstraint, catalog: &Catalog) -> Option<Finding> {
    let parent = constraint.parent.as_ref()?;
    let known = catalog.tables.iter().find(|table| table.name == *parent);
    let granted = known.is_some_and(|table| !table.missing_privileges.contains(&"REFERENCES"));
    if catalog.superuser || granted {
        return None;
    }
    let (subject, name) = (constraint.table.to_string(), &constraint.name);
    let remedy = format!("grant references on {} to {};", parent.sql(), ident(&catalog.role));
    let finding = match known {
        Some(_) => Finding::blocker(
            "references_needed",
            subject,
            format!(
                "role {} may not reference {parent}, so foreign key {name} could not be given back",
                catalog.role
            ),
        ),
        // What may be done with tables of other schemas is not looked up.
        None => Finding::warning(
            "references_needed",
            subject,
            format!(
                "giving back foreign key {name} needs the right to reference {parent}, in another schema"
            ),
        ),
    };
    Some(finding.with_remedy(remedy))
}

/// Whether a foreign key of a table may come back NOT VALID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validity {
    MayWait,
    MustHold,
}

impl Validity {
    fn of(table: &PgTable, catalog: &Catalog) -> Validity {
        if table.kind == RelationKind::Partitioned && catalog.version_num < PARTITIONED_NOT_VALID {
            Validity::MustHold
        } else {
            Validity::MayWait
        }
    }
}

fn suspended_constraint(constraint: &PgConstraint, validity: Validity) -> Suspended {
    let (table, name) = (constraint.table.sql(), ident(&constraint.name));
    let definition = match constraint.kind {
        ConstraintKind::Check => rereadable(&constraint.definition),
        ConstraintKind::Foreign | ConstraintKind::Primary | ConstraintKind::Unique => {
            constraint.definition.clone()
        }
        ConstraintKind::Exclusion | ConstraintKind::Other => constraint.definition.clone(),
    };
    let add = format!("alter table {table} add constraint {name} {definition}");
    let comment = |text: &String| format!("; comment on constraint {name} on {table} is {}", literal(text));
    let comment = constraint.comment.as_ref().map(comment).unwrap_or_default();
    let sql = format!("{add}{comment}");
    let must_hold = constraint.kind == ConstraintKind::Foreign && validity == Validity::MustHold;
    let fallback =
        (!must_hold && !definition.ends_with("NOT VALID")).then(|| format!("{add} not valid{comment}"));
    Suspended {
        table: constraint.table.clone(),
        name: constraint.name.clone(),
        constraint: Some(constraint.name.clone()),
        suspend: format!("alter table {table} drop constraint {name}"),
        restore: Statement { what: format!("constraint {name} on {table}"), sql, fallback, required: false },
    }
}

fn suspended_trigger(table: &PgName, trigger: &PgTrigger) -> Suspended {
    let name = ident(&trigger.name);
    let enable = match trigger.enabled {
        'A' => "enable always",
        'R' => "enable replica",
        _ => "enable",
    };
    let table_sql = table.sql();
    Suspended {
        table: table.clone(),
        name: trigger.name.clone(),
        constraint: None,
        suspend: format!("alter table {table_sql} disable trigger {name}"),
        restore: Statement {
            what: format!("trigger {name} on {table_sql}"),
            sql: format!("alter table {table_sql} {enable} trigger {name}"),
            fallback: None,
            required: false,
        },
    }
}

/// Foreign keys of tables that we do not fill: replacing the rows they point to would fail, or cascade.
fn suspend_from_outside(touched: &[&PgTable], copied: &[&PgTable], catalog: &Catalog, out: &mut Suspension) {
    let is_copied = |name: &PgName| copied.iter().any(|table| table.name == *name);
    let within = catalog.tables.iter().filter(|table| !is_copied(&table.name));
    let within =
        within.flat_map(|table| table.constraints.iter().map(move |constraint| (Some(table), constraint)));
    let beyond = catalog.foreign_keys_from_outside.iter().map(|constraint| (None, constraint));
    for (table, constraint) in within.chain(beyond).filter(|(_, constraint)| points_at(constraint, touched)) {
        if table.is_some_and(|table| !is_alterable(table, catalog)) {
            let remedy = owner_remedy(&constraint.table, catalog);
            let text = format!("its foreign key {} points at rows that are to be replaced", constraint.name);
            let finding = Finding::blocker("not_owner", constraint.table.to_string(), text);
            out.findings.push(finding.with_remedy(remedy));
            continue;
        }
        let validity = table.map_or(Validity::MayWait, |table| Validity::of(table, catalog));
        out.suspended.push(suspended_constraint(constraint, validity));
        out.findings.extend(references_needed(constraint, catalog));
        out.findings.push(may_dangle(table, constraint, catalog));
    }
}

fn may_dangle(table: Option<&PgTable>, constraint: &PgConstraint, catalog: &Catalog) -> Finding {
    let subject = constraint.table.to_string();
    let parent = constraint.parent.as_ref().map(ToString::to_string).unwrap_or_default();
    if table.is_some_and(|table| !table.has_rows) {
        let text =
            "foreign keys are suspended while rows that they point at change (`check --sql` names each)";
        return Finding::note("constraints_suspended", subject, text);
    }
    let owner = match table {
        None if !catalog.superuser => format!(", which role {} must be allowed to alter", catalog.role),
        Some(_) | None => String::new(),
    };
    let text = format!(
        "no row goes into this table{owner}, and its foreign key {} points at {parent}, whose rows change: its own rows may \
         dangle",
        constraint.name
    );
    let remedy = format!(
        "empty it first if its rows are only a fresh schema's: delete from {};",
        constraint.table.sql()
    );
    Finding::warning("rows_may_dangle", subject, text).with_remedy(remedy)
}

fn replica_session(table: &PgTable) -> Finding {
    let text = "this table is not ours to alter: its foreign keys and triggers rest while the load runs in replica sessions, so \
                rows that break a foreign key go unnoticed; its CHECKs do not rest, and a row that breaks one is refused";
    let remedy = "afterwards look for orphans, or let the owner drop the foreign keys and add them again";
    Finding::warning("replica_sessions", table.name.to_string(), text).with_remedy(remedy)
}

fn not_owner(table: &PgTable, copied: &[&PgTable], catalog: &Catalog) -> Finding {
    let constraints =
        disturbing_constraints(table).map(|constraint| format!("constraint {}", constraint.name));
    let triggers = disturbing_triggers(table).map(|trigger| {
        let moment = if trigger.before { ", which may change rows" } else { "" };
        format!("trigger {}{moment}", trigger.name)
    });
    let disturbing: BTreeSet<String> = constraints.chain(triggers).collect();
    let names = disturbing.into_iter().collect::<Vec<_>>().join("; ");
    let text = format!("role {} does not own this table and cannot suspend: {names}", catalog.role);
    let mut remedy = owner_remedy(&table.name, catalog);
    if catalog.version_num >= GRANTABLE_PARAMETERS {
        match replica_session_obstacle(table, copied) {
            None => {
                let role = ident(&catalog.role);
                remedy.push_str(&format!(" or: grant set on parameter session_replication_role to {role};"));
            }
            Some(obstacle) => {
                remedy.push_str(&format!(
                    " (granting session_replication_role would not do, because of {obstacle})"
                ));
            }
        }
    }
    Finding::blocker("not_owner", table.name.to_string(), text).with_remedy(remedy)
}

pub(super) fn owner_remedy(table: &PgName, catalog: &Catalog) -> String {
    format!("alter table {} owner to {};", table.sql(), ident(&catalog.role))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::{Case, constraint, expect, expect_codes, foreign_key, target, trigger};
    use super::*;
    use crate::model::finding::Severity::{Blocker, Warning};

    fn disturbed() -> Case {
        let mut case = Case::new();
        let check = constraint("t", "ck", ConstraintKind::Check, "CHECK ((id >= 0))");
        let old = constraint("t", "old", ConstraintKind::Check, "CHECK ((id < 9)) NOT VALID");
        let table = case.table();
        table.constraints.extend([foreign_key("t", "fk", "p"), check, old]);
        table.triggers =
            ["O", "A", "R", "D"].map(|state| trigger(state, state.chars().next().unwrap())).to_vec();
        case.catalog.tables.push(target("p", vec![]));
        case
    }

    #[test]
    fn what_disturbs_the_load_is_taken_away_and_given_back_word_for_word() {
        let plan = disturbed().plan();
        let told = plan.findings.iter().filter(|finding| finding.code == "constraints_suspended");
        let told: Vec<[&str; 2]> = told.map(|finding| [&*finding.subject, &*finding.text]).collect();
        let rest = "are suspended during the load and given back after it (`check --sql` names each)";
        let kinds = ["foreign keys", "CHECKs", "triggers"].map(|kind| format!("{kind} {rest}"));
        assert_eq!(told, kinds.each_ref().map(|kind| ["public.t", kind.as_str()]));
        let statements: Vec<[&str; 3]> = plan
            .suspended
            .iter()
            .map(|item| {
                [&item.suspend[..], &item.restore.sql, item.restore.fallback.as_deref().unwrap_or("-")]
            })
            .collect();
        let t = |rest: &str| format!("alter table \"public\".\"t\" {rest}");
        let expected = [
            ["drop constraint \"fk\"", "add constraint \"fk\" FOREIGN KEY (p) REFERENCES p(id)", "not valid"],
            ["drop constraint \"ck\"", "add constraint \"ck\" CHECK ((id >= 0))", "not valid"],
            ["drop constraint \"old\"", "add constraint \"old\" CHECK ((id < 9)) NOT VALID", ""],
            ["disable trigger \"O\"", "enable trigger \"O\"", ""],
            ["disable trigger \"A\"", "enable always trigger \"A\"", ""],
            ["disable trigger \"R\"", "enable replica trigger \"R\"", ""],
        ];
        assert_eq!(statements.len(), expected.len());
        for (found, [suspend, restore, validity]) in statements.iter().zip(expected) {
            let fallback =
                if validity.is_empty() { "-".into() } else { format!("{} {validity}", t(restore)) };
            assert_eq!(found, &[&t(suspend)[..], &t(restore), &fallback]);
        }
        assert!(plan.suspended.iter().all(|item| !item.restore.required));
        assert!(!needs_replica_sessions(&plan, &disturbed().catalog));
    }

    #[test]
    fn foreign_keys_of_partitioned_tables_cannot_come_back_unproven() {
        let mut case = disturbed();
        case.table().kind = RelationKind::Partitioned;
        let fallback = |case: &Case| {
            case.plan().suspended.iter().map(|item| item.restore.fallback.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(fallback(&case)[..2], [false, true]);
        case.catalog.version_num = 180_000;
        assert_eq!(fallback(&case)[..2], [true, true]);
    }

    #[test]
    fn constraints_that_nobody_enforces_are_left_alone() {
        let mut case = Case::new();
        case.table().constraints.push(constraint(
            "t",
            "ck",
            ConstraintKind::Check,
            "CHECK ((id > 0)) NOT ENFORCED",
        ));
        let plan = case.plan();
        expect_codes(&plan, &[]);
        assert!(plan.suspended.is_empty());
    }

    #[test]
    fn a_table_of_another_owner_needs_its_owner_or_replica_sessions() {
        let mut case = disturbed();
        case.table().owned = false;
        let plan = case.plan();
        expect(&plan, Blocker, "not_owner", "alter table \"public\".\"t\" owner to \"mover\";");
        expect(&plan, Blocker, "not_owner", "because of trigger A");
        assert!(plan.suspended.is_empty());

        case.table().triggers.truncate(1);
        let plan = case.plan();
        expect(&plan, Blocker, "not_owner", "grant set on parameter session_replication_role to \"mover\";");
        expect(&plan, Blocker, "not_owner", "trigger O, which may change rows");

        case.catalog.may_set_replication_role = true;
        let plan = case.plan();
        expect(&plan, Warning, "replica_sessions", "orphans");
        assert!(needs_replica_sessions(&plan, &case.catalog));
        assert!(plan.suspended.is_empty());

        let deferrable = constraint("t", "u", ConstraintKind::Unique, "UNIQUE (v) DEFERRABLE");
        case.table().constraints.push(PgConstraint { columns: vec!["v".into()], ..deferrable });
        expect(&case.plan(), Blocker, "not_owner", "because of constraint u");

        case.catalog.superuser = true;
        assert_eq!(case.plan().suspended.len(), 4);
    }

    #[test]
    fn giving_a_foreign_key_back_needs_the_right_to_reference() {
        let mut case = disturbed();
        let grant = "grant references on \"public\".\"p\" to \"mover\";";
        case.catalog.tables[1].owned = false;
        assert!(case.plan().findings.iter().all(|finding| finding.code != "references_needed"));
        case.catalog.tables[1].missing_privileges = vec!["REFERENCES"];
        expect(&case.plan(), Blocker, "references_needed", grant);
        case.catalog.tables.truncate(1);
        expect(&case.plan(), Warning, "references_needed", grant);
    }

    #[test]
    fn foreign_keys_from_outside_make_way_only_where_rows_change() {
        let mut case = Case::new();
        let mut child = target("child", vec![]);
        child.constraints.push(foreign_key("child", "fk", "t"));
        child.has_rows = true;
        let mut partitioned = target("parted", vec![]);
        partitioned.kind = RelationKind::Partitioned;
        partitioned.constraints.push(foreign_key("parted", "fk2", "t"));
        case.catalog.tables.extend([child, partitioned]);
        let beyond = PgConstraint { table: PgName::new("other", "x"), ..foreign_key("x", "fk3", "t") };
        case.catalog.foreign_keys_from_outside = vec![beyond];
        assert!(case.plan().suspended.is_empty());

        case.overrides.existing_rows = ExistingRows::Replace;
        assert!(case.plan().suspended.is_empty());
        case.table().has_rows = true;
        let plan = case.plan();
        let suspended: Vec<String> = plan.suspended.iter().map(|item| item.table.to_string()).collect();
        assert_eq!(suspended, ["public.child", "public.parted", "other.x"]);
        let dangling: Vec<&str> = plan
            .findings
            .iter()
            .filter(|finding| finding.code == "rows_may_dangle")
            .map(|finding| finding.subject.as_str())
            .collect();
        assert_eq!(dangling, ["public.child", "other.x"]);

        case.catalog.tables[1].owned = false;
        expect(&case.plan(), Blocker, "not_owner", "alter table \"public\".\"child\" owner to");
    }
}
