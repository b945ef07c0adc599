//! Foreign keys of tables that are not followed, and point at one that is. `run` takes them away while it follows, where it may: a row that
//! changes is written anew, and such a key refuses that, or takes its own rows along. What it may not take away, or not give back, is told
//! before anything begins.
//!
//! A copy writes no row twice: to it they are nothing.

use super::suspend::{is_alterable, needs_replica_sessions, owner_remedy, points_at, references_needed};
use crate::model::catalog::{Catalog, PgConstraint, PgTable};
use crate::model::finding::Finding;
use crate::model::name::ident;
use crate::plan::{Plan, TableRole};

/// What a key does to its own rows when the one that they point at goes.
const TAKES_ALONG: [&str; 3] = ["ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE SET DEFAULT"];

pub fn keys_from_outside(plan: &Plan, catalog: &Catalog) -> Vec<Finding> {
    // In such sessions no foreign key does anything.
    if needs_replica_sessions(plan, catalog) {
        return Vec::new();
    }
    let followed = plan.tables.iter().filter(|table| table.role == TableRole::Copied);
    let followed: Vec<&PgTable> = followed
        .filter_map(|planned| catalog.tables.iter().find(|table| table.name == planned.route.target))
        .collect();
    let others = catalog.tables.iter().filter(|other| followed.iter().all(|table| table.name != other.name));
    let within = others.flat_map(|other| {
        let is_ours = is_alterable(other, catalog);
        other.constraints.iter().map(move |key| (is_ours, key))
    });
    let beyond = catalog.foreign_keys_from_outside.iter().map(|key| (key.owned, key));
    let keys = within.chain(beyond).filter(|(_, key)| points_at(key, &followed));
    keys.filter(|(_, key)| !key.definition.ends_with("NOT ENFORCED"))
        .filter_map(|(is_ours, key)| match is_ours {
            true => references_needed(key, catalog),
            false => Some(stays(key, catalog)),
        })
        .collect()
}

fn stays(key: &PgConstraint, catalog: &Catalog) -> Finding {
    let (subject, table, name) = (key.table.to_string(), key.table.sql(), ident(&key.name));
    let parent = key.parent.as_ref().map(ToString::to_string).unwrap_or_default();
    let whose = format!(
        "this table is not followed and not owned by role {}, and its foreign key {} points at {parent}, whose rows are written anew when they \
         change",
        catalog.role, key.name
    );
    let taken = TAKES_ALONG.iter().find(|action| key.definition.contains(**action));
    let remedy = format!(
        "{} or have its owner take the key away until the writes have moved: alter table {table} drop constraint {name}; afterwards: alter table \
         {table} add constraint {name} {};",
        owner_remedy(&key.table, catalog),
        key.definition
    );
    let finding = match taken {
        Some(action) => {
            let action = action.to_ascii_lowercase();
            Finding::blocker(
                "not_owner",
                subject,
                format!("{whose}: `{action}` would change rows of this table with each"),
            )
        }
        None => Finding::warning(
            "not_owner",
            subject,
            format!(
                "{whose}: where a row of this table points at one, `run` would halt (constraint_refused)"
            ),
        ),
    };
    finding.with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Case, foreign_key, target};
    use super::*;
    use crate::model::name::PgName;

    #[test]
    fn keys_of_tables_that_are_others_are_told_with_what_takes_them_away() {
        let mut case = Case::new();
        let mut child = target("child", vec![]);
        child.owned = false;
        child.constraints.push(foreign_key("child", "fk", "t"));
        case.catalog.tables.push(child);
        let cascade = "FOREIGN KEY (p) REFERENCES t(id) ON DELETE CASCADE".to_owned();
        let beyond = PgConstraint {
            table: PgName::new("other", "x"),
            definition: cascade,
            owned: false,
            ..foreign_key("x", "fk2", "t")
        };
        case.catalog.foreign_keys_from_outside = vec![beyond];
        let told = |case: &Case| {
            let found = keys_from_outside(&case.plan(), &case.catalog);
            found.into_iter().map(|found| (found.severity.word(), found.subject)).collect::<Vec<_>>()
        };
        let expected = [("warning", "public.child".to_owned()), ("blocker", "other.x".to_owned())];
        assert_eq!(told(&case), expected);
        let remedy = &keys_from_outside(&case.plan(), &case.catalog)[1].remedy;
        for says in [
            "alter table \"other\".\"x\" owner to \"mover\";",
            "alter table \"other\".\"x\" drop constraint \"fk2\";",
            "add constraint \"fk2\" FOREIGN KEY (p) REFERENCES t(id) ON DELETE CASCADE;",
        ] {
            assert!(remedy.contains(says), "{remedy}");
        }
        case.catalog.foreign_keys_from_outside[0].owned = true;
        case.catalog.tables[1].owned = true;
        assert_eq!(told(&case), []);
        // What may be taken away has to be given back.
        case.table().missing_privileges = vec!["REFERENCES"];
        assert_eq!(told(&case)[0].0, "blocker");
    }
}
