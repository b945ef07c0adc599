//! Prepare: looks at both sides and makes the plan. It writes nothing, on either side.

use super::orphans;
use crate::canon::learn::Learner;
use crate::flow::backfill::OnMisfit;
use crate::flow::progress::{Event, Watch};
use crate::model::catalog::Catalog;
use crate::model::fault::Fault;
use crate::model::finding::{Finding, listed};
use crate::model::name::ident;
use crate::model::schema::{SqliteSchema, SqliteTable};
use crate::plan::existing::mapping;
use crate::plan::overrides::Overrides;
use crate::plan::route::Route;
use crate::plan::survey::{ColumnSurvey, Survey, TableSurvey};
use crate::plan::{Mode, Plan, TableRole, create, existing, habit, typing, unmatched, version};
use crate::postgres::catalog::catalog;
use crate::postgres::connect::connect;
use crate::postgres::url::Target as Address;
use crate::sqlite::connect::{SqliteFile, past_links};
use crate::sqlite::misplaced::{Misplaced, Sample, misplaced};
use crate::sqlite::scan::ChunkLimit;
use crate::sqlite::source::SqliteSource;
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What a command is asked to work on.
#[derive(Clone, Debug)]
pub struct Request {
    pub source: PathBuf,
    pub busy_timeout: Duration,
    pub address: Arc<Address>,
    pub schema: String,
    pub mode: Mode,
    pub overrides: Overrides,
    pub values: Values,
    pub on_misfit: OnMisfit,
    pub widening: Widening,
    pub workers: usize,
    pub limit: ChunkLimit,
    /// Where the values of some tables alone are looked at.
    pub partly: Option<Partly>,
}

impl Request {
    /// The database by its path from the root, past links, as the records know it.
    pub fn source_path(&self) -> String {
        past_links(&self.source).display().to_string()
    }
}

/// The tables that are new to a migration that is under way, and what is known of the others.
#[derive(Clone, Debug)]
pub struct Partly {
    /// Their names in the source.
    pub surveyed: BTreeSet<String>,
    pub followed: Vec<Arc<Route>>,
}

/// Whether the plan is made from the values or from the schema alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    Surveyed,
    Unseen,
}

/// Whether a column of our own making gives way to values that come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Widening {
    Never,
    /// In a table of at most so many rows: PostgreSQL rewrites it, and its readers wait.
    UpTo(i64),
}

impl Widening {
    pub fn rows_max(self) -> Option<i64> {
        match self {
            Widening::Never => None,
            Widening::UpTo(rows) => Some(rows),
        }
    }
}

/// Both sides as they were found, and the plan.
pub struct Prepared {
    pub source: SqliteSource,
    pub schema: SqliteSchema,
    pub survey: Option<Survey>,
    pub catalog: Catalog,
    pub plan: Plan,
    /// Trees of SQLite's that only the application searches as they are kept.
    pub misplaced: Vec<Misplaced>,
}

pub async fn prepare(request: &Request, watch: &dyn Watch) -> Result<Prepared, Fault> {
    let file = SqliteFile::examine(&request.source, request.busy_timeout)?;
    let mut findings: Vec<Finding> = file.findings().to_vec();
    let source = SqliteSource::new(file, request.limit);
    let schema = source.introspect().await?;
    findings.extend(nothing_there(source.file(), &schema));
    let session = connect(&request.address).await?;
    let catalog = catalog(&session, &request.schema).await?;
    drop(session);
    let survey = match request.values {
        Values::Unseen => None,
        Values::Surveyed => Some(survey(request, &source, &schema, &catalog, watch).await?),
    };
    let mut plan = match request.mode {
        Mode::Create => {
            let citext_schema = catalog.citext_schema.clone();
            let overrides = Overrides { citext_schema, ..request.overrides.clone() };
            create::plan(&schema, survey.as_ref(), &request.schema, &overrides)
        }
        Mode::Existing => existing::plan(&schema, survey.as_ref(), &catalog, &request.overrides),
    };
    findings.append(&mut plan.findings);
    findings.extend(unmatched::findings(&schema, &request.overrides, request.mode));
    findings.extend(target_findings(&catalog, request.mode));
    findings.extend(version::too_new(&plan, &schema, survey.as_ref(), catalog.version_num));
    if survey.is_some() && request.partly.is_none() {
        findings.extend(orphans::look((&source, request.limit.read_time), &plan).await?);
    }
    let misplaced = match request.values {
        Values::Unseen => Vec::new(),
        Values::Surveyed => misplaced_rows(&source, (request, &plan)).await?,
    };
    findings.extend(misplaced.iter().filter(|tree| tree.index.is_none()).map(unreadable));
    plan.findings = findings;
    plan.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(Prepared { source, schema, survey, catalog, plan, misplaced })
}

/// SQLite makes a file of any path that it is asked to open, so that a typo is a database too.
fn nothing_there(file: &SqliteFile, schema: &SqliteSchema) -> Option<Finding> {
    if !schema.tables.is_empty() {
        return None;
    }
    let text = match file.bytes() {
        Some(0) => "the file is empty (0 bytes): there is nothing to carry over",
        Some(_) | None => "the database has no table: there is nothing to carry over",
    };
    let remedy = "check source.path: the application's database is another file, unless it has made no table yet (SQLite makes an empty file \
                  of any path that it is asked to open)";
    Some(Finding::warning("source_empty", file.path().display().to_string(), text).with_remedy(remedy))
}

async fn misplaced_rows(
    source: &SqliteSource,
    (request, plan): (&Request, &Plan),
) -> Result<Vec<Misplaced>, Fault> {
    let copied = plan.tables.iter().filter(|table| table.role == TableRole::Copied);
    let is_asked =
        |name: &String| request.partly.as_ref().is_none_or(|partly| partly.surveyed.contains(name));
    let tables: BTreeSet<String> =
        copied.map(|table| table.route.source.clone()).filter(|name| is_asked(name)).collect();
    source.read(move |db| misplaced(db, Sample::THOROUGH, |name| tables.contains(name))).await
}

/// A table that is read in the order of its own tree, which is not SQLite's.
fn unreadable(tree: &Misplaced) -> Finding {
    let text = format!("{}; read by its key, the table would lack rows", tree.why());
    Finding::blocker("index_misplaced", &tree.table, text).with_remedy(INDEX_REMEDY)
}

/// Which of the two it is tells `pragma integrity_check`, asked by the application itself.
pub const INDEX_REMEDY: &str = "if the application itself finds no error by `pragma integrity_check`, the order or function is its own, or its SQLite's: drop the index until \
    the migration is over, or leave the table out by tables.exclude; if it finds one, `reindex` mends it";

/// What must hold of the target. Of all but our own schema, `existing` mode's preflight says as much and more.
fn target_findings(catalog: &Catalog, mode: Mode) -> Vec<Finding> {
    let mut findings: Vec<Finding> = event_triggers(catalog).into_iter().collect();
    let mut block = |code, text: String, remedy: &str| {
        findings.push(Finding::blocker(code, catalog.database.clone(), text).with_remedy(remedy));
    };
    let (role, database) = (&catalog.role, &catalog.database);
    if !catalog.may_keep_state {
        let text = format!(
            "role {role} may not create schema liteferry, or not use it: progress and ledger are kept there"
        );
        let remedy = format!(
            "grant create on database {} to {}; — where schema liteferry is there already, let the role that owns it run the copy",
            ident(database),
            ident(role)
        );
        block("target_privilege", text, &remedy);
    }
    if catalog.schema == "liteferry" {
        let text = "schema liteferry is kept for progress and ledger, and removed by hand once they are no longer needed";
        block("target_schema_ours", text.to_owned(), "name another schema in target.schema");
    }
    if mode == Mode::Existing {
        return findings;
    }
    if catalog.version_num < 130_000 {
        let text =
            format!("the server is PostgreSQL {}; 13 or newer is needed", catalog.version_num / 10_000);
        block("target_version", text, "upgrade the server, or name another in target.url");
    }
    if !catalog.server_encoding.eq_ignore_ascii_case("UTF8") {
        let text =
            format!("the database's encoding is {}; only UTF8 holds every text", catalog.server_encoding);
        block(
            "target_encoding",
            text,
            "create database … encoding 'UTF8' template template0, and name it in target.url",
        );
    }
    if catalog.read_only {
        block(
            "target_read_only",
            "the server takes no writes".into(),
            "name the primary server in target.url",
        );
    }
    if !catalog.may_create_in_schema {
        let (schema, role_sql) = (ident(&catalog.schema), ident(role));
        let (text, remedy) = if catalog.schema_exists {
            let text = format!("role {role} may not create tables in schema {}", catalog.schema);
            (text, format!("grant usage, create on schema {schema} to {role_sql}"))
        } else {
            let text = format!("role {role} may not create schema {}", catalog.schema);
            (text, format!("grant create on database {} to {role_sql}", ident(database)))
        };
        block("target_privilege", text, &remedy);
    }
    findings
}

/// Which statements they refuse nobody can tell from outside.
fn event_triggers(catalog: &Catalog) -> Option<Finding> {
    if catalog.event_triggers.is_empty() {
        return None;
    }
    let text = format!(
        "event triggers of the target fire for what liteferry makes and alters there ({}): where one refuses such a statement, setup or switch \
         end with trigger_refused",
        listed(catalog.event_triggers.iter().cloned())
    );
    let remedy = "where one refuses statements: have it let the role's pass, or disable it (alter event trigger … disable) until the migration is over";
    Some(Finding::note("event_triggers", catalog.database.clone(), text).with_remedy(remedy))
}

async fn survey(
    request: &Request,
    source: &SqliteSource,
    schema: &SqliteSchema,
    catalog: &Catalog,
    watch: &dyn Watch,
) -> Result<Survey, Fault> {
    let mut survey = Survey::default();
    for (table, learners) in learners(request, schema, catalog) {
        if request.partly.as_ref().is_some_and(|partly| !partly.surveyed.contains(&table.name)) {
            continue;
        }
        let columns = learners.into_iter().map(ColumnSurvey::with_learners).collect();
        let blank = TableSurvey { columns, ..TableSurvey::default() };
        let found = survey_table((request, source), table, blank, watch).await?;
        survey.tables.insert(table.name.clone(), found);
    }
    let followed = request.partly.as_ref().map(|partly| partly.followed.as_slice()).unwrap_or_default();
    habit::tell(&mut survey, &schema.tables, followed);
    Ok(survey)
}

/// The tables whose values matter, with what is to be learned of each column.
fn learners<'s>(
    request: &Request,
    schema: &'s SqliteSchema,
    catalog: &'s Catalog,
) -> Vec<(&'s SqliteTable, Vec<Vec<Learner>>)> {
    let overrides = &request.overrides;
    match request.mode {
        Mode::Create => {
            let included = schema.tables.iter().filter(|table| overrides.includes(&table.name));
            let columns = |table: &SqliteTable| {
                (0..table.columns.len()).map(|column| typing::candidates(table, column, overrides)).collect()
            };
            included.map(|table| (table, columns(table))).collect()
        }
        Mode::Existing => mapping::map_tables(schema, catalog, overrides).learners(overrides),
    }
}

/// Spans are cut finer than there are workers, so that a large table shows its progress.
const SPANS_PER_WORKER: usize = 8;

async fn survey_table(
    (request, source): (&Request, &SqliteSource),
    table: &SqliteTable,
    blank: TableSurvey,
    watch: &dyn Watch,
) -> Result<TableSurvey, Fault> {
    let workers = request.workers.max(1);
    let spans = source.spans_of(table, workers * SPANS_PER_WORKER).await?;
    let table = Arc::new(table.clone());
    let (told, mut turns) = mpsc::channel(1);
    let name = table.name.clone();
    let read = async move {
        stream::iter(spans)
            .map(|span| source.survey(Arc::clone(&table), span, blank.clone(), told.clone()))
            .buffered(workers)
            .try_fold(blank.clone(), |mut found, more| {
                found.merge(more);
                async { Ok(found) }
            })
            .await
    };
    let watched = async {
        while let Some(rows) = turns.recv().await {
            watch.see(Event::Surveyed { table: &name, rows });
        }
        Ok(())
    };
    let (found, ()) = try_join(read, watched).await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::finding::Severity;

    #[test]
    fn a_target_that_cannot_be_copied_into_is_refused_by_name() {
        let fit = Catalog {
            version_num: 130_000,
            server_encoding: "UTF8".into(),
            may_create_in_schema: true,
            may_keep_state: true,
            schema_exists: true,
            ..Catalog::default()
        };
        let check = |change: fn(&mut Catalog), code: &str, said: &str| {
            let mut catalog = fit.clone();
            change(&mut catalog);
            let findings = target_findings(&catalog, Mode::Create);
            assert_eq!(findings.len(), 1, "{findings:#?}");
            assert_eq!((findings[0].code, findings[0].severity), (code, Severity::Blocker));
            assert!(findings[0].text.contains(said) && !findings[0].remedy.is_empty(), "{findings:#?}");
        };
        assert_eq!(target_findings(&fit, Mode::Create), []);
        check(|catalog| catalog.version_num = 120_022, "target_version", "PostgreSQL 12");
        check(|catalog| catalog.version_num = 90_624, "target_version", "PostgreSQL 9");
        check(|catalog| catalog.server_encoding = "LATIN1".into(), "target_encoding", "LATIN1");
        check(|catalog| catalog.read_only = true, "target_read_only", "no writes");
        check(|catalog| catalog.may_create_in_schema = false, "target_privilege", "tables in schema");
        check(|catalog| catalog.may_keep_state = false, "target_privilege", "schema liteferry");
        check(|catalog| catalog.schema = "liteferry".into(), "target_schema_ours", "removed by hand");
    }
}
