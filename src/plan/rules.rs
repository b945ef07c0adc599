//! Indexes, unique constraints and CHECKs of a followed table in `create` mode, and what became of them since: the application's migrations add
//! them and take them away while it is followed, and what the target alone still enforced would refuse rows that SQLite took.
//!
//! A rule is known by its words in the source. What stands for it in the target stays where the words are the same, whatever the values have
//! come to be.

use super::{Statement, TablePlan, name_of};
use crate::model::name::{PgName, ident, literal};
use crate::model::schema::{IndexOrigin, IndexPart, IndexTerm, SqliteIndex, SqliteTable};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// As the source declares it.
    pub declared: String,
    /// By what its statement says that it makes, which two that are the same share. Nothing where the target does without.
    pub made_as: Option<String>,
}

/// What is to become of a table's rules in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turnover {
    /// Its name in SQLite.
    pub table: String,
    pub target: PgName,
    /// What is taken away, as it was made.
    pub gone: BTreeSet<String>,
    /// What is made once the target stands where the source has it.
    pub indexes: Vec<Statement>,
    pub checks: Vec<Statement>,
    /// All of them from now on.
    pub rules: Vec<Rule>,
}

/// The words of each rule, in the order in which a plan makes them: those of the primary key are none. Columns bear the names that `called`
/// gives them.
pub fn declared(table: &SqliteTable, called: impl Fn(&str) -> String) -> Vec<String> {
    let of_index = |index: &SqliteIndex| {
        let what = match index.origin {
            IndexOrigin::Created => format!("index {:?}", index.name.to_ascii_lowercase()),
            IndexOrigin::Unique | IndexOrigin::PrimaryKey => "constraint".to_owned(),
        };
        format!("{what} {}", body(table, index, &called))
    };
    let indexes = table.indexes.iter().filter(|index| index.origin != IndexOrigin::PrimaryKey).map(of_index);
    let checks =
        table.checks.iter().map(|check| format!("{CHECK} {:?} {}", check.name, plain(&check.expression)));
    indexes.chain(checks).collect()
}

const CHECK: &str = "check";

/// What an index is apart from its name.
pub fn body(table: &SqliteTable, index: &SqliteIndex, called: impl Fn(&str) -> String) -> String {
    let part = |part: &IndexPart| {
        let term = match &part.term {
            IndexTerm::Column(column) => format!("{:?}", called(&table.columns[*column].name)),
            IndexTerm::Rowid => "rowid".to_owned(),
            IndexTerm::Expression(expression) => format!("({})", plain(expression)),
        };
        let direction = if part.descending { " desc" } else { "" };
        format!("{term} {}{direction}", part.collation.to_ascii_lowercase())
    };
    let unique = if index.unique { "unique " } else { "" };
    let parts = index.parts.iter().map(part).collect::<Vec<_>>().join(", ");
    let predicate =
        index.predicate.as_deref().map(|text| format!(" where {}", plain(text))).unwrap_or_default();
    format!("{unique}({parts}){predicate}")
}

/// A migration tool that makes a table anew may break its lines elsewhere.
fn plain(expression: &str) -> String {
    expression.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `recorded`: the rules as they were. `fresh`: the table as it would be planned now, its columns as they cross. `before`: the words of its
/// rules under the names that the columns bore when they were recorded.
pub fn turnover(recorded: &[Rule], fresh: &TablePlan, before: &[String]) -> Option<Turnover> {
    let is_check = |declared: &&String| declared.starts_with(CHECK);
    // CHECKs without a name are numbered: where one goes, its number is another's.
    let checks_stay =
        recorded.iter().map(|rule| &rule.declared).filter(is_check).eq(before.iter().filter(is_check));
    let mut left: Vec<Rule> = recorded.to_vec();
    let mut stays = |(declared, now): (&String, &Rule)| {
        let is_it = |rule: &Rule| rule.declared == *declared && (checks_stay || !is_check(&declared));
        let made_as = left.remove(left.iter().position(is_it)?).made_as;
        Some(Rule { declared: now.declared.clone(), made_as })
    };
    let mut kept: Vec<Option<Rule>> = before.iter().zip(&fresh.rules).map(&mut stays).collect();
    // What came may be given the name that another one has: both are made anew.
    while let Some(at) = (0..kept.len()).find(|at| is_taken(*at, &kept, fresh)) {
        left.extend(kept[at].take());
    }
    let stay: BTreeSet<String> = kept.iter().flatten().filter_map(|rule| rule.made_as.clone()).collect();
    let came: BTreeSet<&String> = came(&kept, fresh).filter(|made_as| !stay.contains(*made_as)).collect();
    let made = |statements: &[Statement]| {
        statements.iter().filter(|statement| came.contains(&statement.what)).map(unless_there).collect()
    };
    let (indexes, checks) = (made(&fresh.indexes), made(&fresh.checks));
    let rules: Vec<Rule> =
        kept.into_iter().zip(&fresh.rules).map(|(kept, now)| kept.unwrap_or_else(|| now.clone())).collect();
    (rules != recorded).then(|| Turnover {
        table: fresh.route.source.clone(),
        target: fresh.route.target.clone(),
        gone: left.into_iter().filter_map(|rule| rule.made_as).filter(|gone| !stay.contains(gone)).collect(),
        indexes,
        checks,
        rules,
    })
}

/// What is made for those that were not there before.
fn came<'p>(kept: &[Option<Rule>], fresh: &'p TablePlan) -> impl Iterator<Item = &'p String> {
    let anew = fresh.rules.iter().zip(kept).filter(|(_, kept)| kept.is_none());
    anew.filter_map(|(rule, _)| rule.made_as.as_ref())
}

/// Whether a rule that stays bears the name that another one is to have.
fn is_taken(at: usize, kept: &[Option<Rule>], fresh: &TablePlan) -> bool {
    let Some(made_as) = kept[at].as_ref().and_then(|rule| rule.made_as.as_ref()) else { return false };
    fresh.rules[at].made_as.as_ref() != Some(made_as) && came(kept, fresh).any(|came| came == made_as)
}

/// Whoever runs the application's migrations against the target too has made it there.
fn unless_there(statement: &Statement) -> Statement {
    let sql = |sql: &String| {
        let block = format!("begin {sql}; exception when duplicate_object or duplicate_table then null; end");
        format!("do {}", literal(&block))
    };
    Statement {
        sql: sql(&statement.sql),
        fallback: statement.fallback.as_ref().map(sql),
        ..statement.clone()
    }
}

impl Turnover {
    /// What changes in the target, each with a word for it.
    pub fn told(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let came = self.indexes.iter().chain(&self.checks).map(|statement| (statement.what.as_str(), "new"));
        self.gone.iter().map(|made_as| (made_as.as_str(), "gone")).chain(came)
    }

    /// What takes away what is gone. A unique constraint whose values were too long became an index of the same name.
    pub fn endings(&self) -> impl Iterator<Item = Statement> {
        self.gone.iter().filter_map(|made_as| {
            let name = name_of(made_as)?;
            let index = PgName::new(&self.target.schema, name.as_str());
            let mut sql = format!("drop index if exists {}", index.sql());
            if made_as.starts_with("constraint ") {
                let table = self.target.sql();
                sql = format!("alter table {table} drop constraint if exists {}; {sql}", ident(&name));
            }
            Some(Statement::required(format!("end of {made_as}"), sql))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::{IndexPart, SqliteCheck};
    use crate::plan::create;
    use crate::plan::overrides::Overrides;
    use crate::plan::samples::{keyed, schema};

    fn table(uniques: &[&[usize]], indexes: &[(&str, usize)], checks: &[&str]) -> SqliteTable {
        let mut table = keyed("t", &["id INTEGER", "a INT", "b INT"]);
        let part = |column: &usize| IndexPart {
            term: IndexTerm::Column(*column),
            collation: "BINARY".to_owned(),
            descending: false,
        };
        let index = |name: &str, origin, columns: &[usize]| SqliteIndex {
            name: name.to_owned(),
            unique: origin == IndexOrigin::Unique,
            origin,
            predicate: None,
            parts: columns.iter().map(part).collect(),
        };
        table.indexes.extend(uniques.iter().map(|columns| index("auto", IndexOrigin::Unique, columns)));
        table.indexes.extend(indexes.iter().map(|(name, at)| index(name, IndexOrigin::Created, &[*at])));
        let check = |text: &&str| SqliteCheck { name: None, expression: (*text).to_owned() };
        table.checks = checks.iter().map(check).collect();
        table
    }

    fn planned(table: &SqliteTable) -> TablePlan {
        let (schema, overrides) = (schema(vec![table.clone()]), Overrides::default());
        let loaded = create::plan(&schema, None, "app", &overrides);
        create::as_followed(&schema, ("app", &overrides), &[&loaded.tables[0].route]).tables.remove(0)
    }

    /// What goes and what comes from one declaration to the next.
    fn check(before: &SqliteTable, after: &SqliteTable, expected: (&[&str], &[&str])) {
        let (recorded, fresh) = (planned(before).rules, planned(after));
        let turned = turnover(&recorded, &fresh, &declared(after, str::to_owned));
        let came = |turned: &Turnover| {
            let statements = turned.indexes.iter().chain(&turned.checks);
            statements.map(|statement| statement.what.clone()).collect::<Vec<_>>()
        };
        let found = turned
            .as_ref()
            .map(|turned| (turned.gone.iter().cloned().collect(), came(turned)))
            .unwrap_or_default();
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found, (owned(expected.0), owned(expected.1)));
    }

    #[test]
    fn what_is_declared_as_before_stays() {
        let plain = table(&[&[1]], &[("i", 2)], &["a > 0"]);
        check(&plain, &plain, (&[], &[]));
        check(&plain, &table(&[&[1]], &[("i", 2)], &["a  >\n0"]), (&[], &[]));
        check(
            &plain,
            &table(&[], &[("i", 1)], &["a > 0"]),
            (&["constraint \"t_a_key\" on \"t\"", "index \"i\" on \"t\""], &["index \"i\" on \"t\""]),
        );
    }

    /// The second CHECK takes the first one's name, and is not to meet it there.
    #[test]
    fn checks_without_a_name_are_made_anew_together() {
        let two = table(&[], &[], &["a > 0", "b > 0"]);
        let (first, second) = ("constraint \"t_check\" on \"t\"", "constraint \"t_check_2\" on \"t\"");
        check(&two, &table(&[], &[], &["b > 0"]), (&[first, second], &[first]));
        check(&two, &table(&[], &[], &["b > 0", "a < 9"]), (&[first, second], &[first, second]));
    }

    /// Of two that are the same one is made, and goes with the last of them.
    #[test]
    fn twins_share_what_was_made() {
        let both = table(&[], &[("i", 1), ("j", 1)], &[]);
        let (first, second) = (table(&[], &[("i", 1)], &[]), table(&[], &[("j", 1)], &[]));
        check(&both, &second, (&[], &[]));
        check(&both, &first, (&[], &[]));
        check(&first, &both, (&[], &[]));
        check(&both, &table(&[], &[], &[]), (&["index \"i\" on \"t\""], &[]));
    }

    #[test]
    fn a_name_that_is_wanted_anew_is_given_up_first() {
        let after = table(&[&[1], &[2]], &[], &[]);
        let before = planned(&table(&[&[1]], &[], &[])).rules;
        let words = declared(&after, |name| if name == "b" { "a".to_owned() } else { "b".to_owned() });
        let turned = turnover(&before, &planned(&after), &words).unwrap();
        assert_eq!(turned.gone, BTreeSet::from(["constraint \"t_a_key\" on \"t\"".to_owned()]));
        assert_eq!(turned.indexes.len(), 2);
        let end = turned.endings().next().unwrap().sql;
        assert_eq!(
            end,
            "alter table \"app\".\"t\" drop constraint if exists \"t_a_key\"; drop index if exists \"app\".\"t_a_key\""
        );
    }
}
