//! One table of hard values in both databases, and the columns of its target as the translator sees them.

use crate::support::{TempDb, TestDatabase, database, liteferry, sqlite};
use liteferry::link::Span;
use liteferry::model::cell::Class;
use liteferry::plan::create;
use liteferry::plan::expr::{Scope, ScopeColumn};
use liteferry::plan::overrides::Overrides;
use liteferry::plan::survey::{ColumnSurvey, Survey, TableSurvey};
use liteferry::plan::typing;
use liteferry::sqlite::introspect::introspect;
use liteferry::sqlite::scan::Turns;
use liteferry::sqlite::survey::survey_span;
use rusqlite::Connection;

/// Both sides, copied by the program.
pub struct Ground {
    pub source: Connection,
    pub target: TestDatabase,
    _file: TempDb,
}

pub fn copied(sql: &str) -> Ground {
    let file = sqlite(sql);
    let target = database();
    let path = file.path.display().to_string();
    liteferry(&["copy", "--source", &path, "--target", &target.url]).exits_with(0);
    let source = Connection::open(&file.path).expect("SQLite opens the file");
    Ground { source, target, _file: file }
}

impl Ground {
    /// As the plan makes it of its drafts.
    pub fn scope(&self, table: &str) -> Scope {
        let schema = introspect(&self.source).expect("the source is read");
        let overrides = Overrides::default();
        let mut survey = Survey::default();
        for table in &schema.tables {
            let learners =
                |column| ColumnSurvey::with_learners(typing::candidates(table, column, &overrides));
            let columns = (0..table.columns.len()).map(learners).collect();
            let blank = TableSurvey { columns, ..TableSurvey::default() };
            let turns = Turns { read_time: std::time::Duration::from_secs(1), ended: &|_| {} };
            let span = (Span::default(), blank);
            let seen = survey_span(&self.source, table, span, &turns).expect("the source is read");
            survey.tables.insert(table.name.clone(), seen);
        }
        let plan = create::plan(&schema, Some(&survey), "public", &overrides);
        let source = schema.table(table).expect("the table is there");
        let plan = plan.tables.iter().find(|plan| plan.route.source == table).expect("the table is planned");
        let column = |(column, seen): (usize, &ColumnSurvey)| {
            let (source, route) = (&source.columns[column], &plan.route.columns[column]);
            let is_met = |class: &Class| *class != Class::Null && seen.count(*class) > 0;
            ScopeColumn {
                qualifier: table.to_owned(),
                name: source.name.clone(),
                affinity: source.affinity,
                collation: source.collation.clone(),
                sql: format!("\"{}\"", route.target),
                ty: route.codec.ty.clone(),
                form: route.codec.form,
                classes: Class::ALL.into_iter().filter(is_met).collect(),
                integers: seen.integers,
                unique: false,
            }
        };
        Scope { columns: survey.tables[table].columns.iter().enumerate().map(column).collect() }
    }
}
