//! Translated SQL against its source: what SQLite says of a row, PostgreSQL says of its copy, for every expression that is
//! translated at all. The two databases are the oracles; a refusal is always right, and counted so that it cannot become the rule.

mod defaults;
mod expressions;
mod ground;
mod views;

use crate::support::psql;
use ground::{Ground, copied};
use liteferry::model::name::literal;
use liteferry::plan::expr::{ExprType, Purpose, Scope, translate};
use rusqlite::Connection;
use rusqlite::types::Value;

/// Gives a query's column as texts, or what PostgreSQL had against it; and what it has against a statement, which is undone.
const ANSWERS: &str = "
    create function answers(query text) returns text[] language plpgsql as $$
    declare found text[];
    begin
        execute 'select array_agg(value::text order by id) from (' || query || ') answer (id, value)' into found;
        return found;
    exception when others then
        return array['error: ' || sqlerrm];
    end $$;
    create function refusal(statement text) returns text language plpgsql as $$
    begin
        execute statement;
        raise exception 'taken';
    exception when others then
        return nullif(sqlerrm, 'taken');
    end $$";

/// PostgreSQL's indexes have no more terms.
const TERMS_MAX: usize = 32;

/// One question that both databases are asked about every row.
struct Question {
    what: String,
    source: String,
    target: String,
}

#[test]
fn translated_expressions_say_of_every_row_what_sqlite_says() {
    let ground = copied(expressions::GROUND);
    psql(&ground.target.url, ANSWERS);
    let scope = ground.scope("t");
    let expressions = expressions::all(&scope);
    let mut questions = Vec::new();
    for expression in &expressions {
        let usable = format!("select {expression} from t");
        if ground.source.prepare(&usable).is_err() {
            continue;
        }
        for purpose in [Purpose::Check, Purpose::Predicate, Purpose::Generated, Purpose::IndexTerm] {
            questions.extend(question(expression, &scope, purpose));
        }
    }
    let translated = questions.len();
    assert!(translated * 4 > expressions.len(), "only {translated} questions of {}", expressions.len());
    compare(&ground, &questions);
}

#[test]
fn translated_expressions_are_taken_as_checks_and_indexes() {
    let ground = copied(expressions::GROUND);
    psql(&ground.target.url, ANSWERS);
    let scope = ground.scope("t");
    let is_evaluated =
        |expression: &String| rows(&ground, &format!("select id, {expression} from t")).is_ok();
    let expressions: Vec<String> = expressions::all(&scope).into_iter().filter(is_evaluated).collect();
    let translated = |purpose| -> Vec<String> {
        let terms = expressions.iter().filter_map(|expression| translate(expression, &scope, purpose).ok());
        terms
            .filter(|term| !matches!(term.ty, ExprType::Column(_) | ExprType::Null))
            .map(|term| term.sql)
            .collect()
    };
    let mut refused = taken(&ground, &translated(Purpose::Check), |checks| {
        format!("alter table t add check ({}) not valid", checks.join(" and "))
    });
    refused.extend(taken(&ground, &translated(Purpose::Predicate), |predicates| {
        format!("create index on t (id) where {}", predicates.join(" and "))
    }));
    refused.extend(taken(&ground, &translated(Purpose::IndexTerm), |terms| {
        let terms: Vec<String> = terms.iter().map(|term| format!("({term}) asc nulls first")).collect();
        format!("create index on t ({})", terms.join(", "))
    }));
    assert!(refused.is_empty(), "{}:\n{}", refused.len(), refused.join("\n"));
}

/// What PostgreSQL has against the parts: asked of many at once, and of one by one where many are refused.
fn taken(ground: &Ground, parts: &[String], statement: impl Fn(&[String]) -> String) -> Vec<String> {
    let refusals = |statements: &[String]| -> Vec<Option<String>> {
        let asked: Vec<String> =
            statements.iter().map(|sql| format!("select refusal({})", literal(sql))).collect();
        psql(&ground.target.url, &asked.join("; ")).into_iter().map(|row| row[0].clone()).collect()
    };
    let statements: Vec<String> = parts.chunks(TERMS_MAX).map(&statement).collect();
    let answers = parts.chunks(TERMS_MAX).zip(refusals(&statements));
    let suspects = answers.filter(|(_, refusal)| refusal.is_some()).flat_map(|(parts, _)| parts);
    let alone: Vec<String> = suspects.map(|part| statement(std::slice::from_ref(part))).collect();
    let refused = alone.iter().zip(refusals(&alone));
    refused.filter_map(|(sql, refusal)| Some(format!("{sql}: {}", refusal?))).collect()
}

fn question(expression: &str, scope: &Scope, purpose: Purpose) -> Option<Question> {
    let translated = translate(expression, scope, purpose).ok()?;
    let sql = &translated.sql;
    let truth = format!("case when ({expression}) then 1 when not ({expression}) then 0 end");
    let (source, target) = match purpose {
        // NULL satisfies a CHECK as truth does.
        Purpose::Check => (format!("ifnull({truth}, 1)"), format!("coalesce({sql}, true)")),
        Purpose::Predicate => (truth, format!("({sql})")),
        Purpose::Generated | Purpose::Query => match &translated.ty {
            // What such a column shows is another spelling of the cell.
            ExprType::Column(_) => (format!("({expression}) is null"), format!("({sql}) is null")),
            _ => (format!("({expression})"), format!("({sql})")),
        },
        Purpose::IndexTerm => match &translated.ty {
            ExprType::Column(_) | ExprType::Null => return None,
            _ => (
                format!("dense_rank() over (order by ({expression}))"),
                format!("dense_rank() over (order by ({sql}) asc nulls first)"),
            ),
        },
    };
    let what = format!("{purpose:?} {expression}\n    became {sql}");
    Some(Question {
        what,
        source: format!("select id, {source} from t order by id"),
        target: format!("select id, {target} from t"),
    })
}

/// Asks both sides and shows every difference at once.
fn compare(ground: &Ground, questions: &[Question]) {
    let mut complaints = Vec::new();
    for batch in questions.chunks(500) {
        let queries: Vec<String> = batch
            .iter()
            .enumerate()
            .map(|(place, one)| format!("({place}, {})", literal(&one.target)))
            .collect();
        let query = format!(
            "select array_to_json(answers(query)) from (values {}) asked (place, query) order by place",
            queries.join(", ")
        );
        for (question, answer) in batch.iter().zip(psql(&ground.target.url, &query)) {
            let target: Vec<Option<String>> =
                serde_json::from_str(answer[0].as_deref().unwrap_or("[]")).expect("an array of texts");
            if let Some(complaint) = difference(ground, question, &target) {
                complaints.push(complaint);
            }
        }
    }
    let shown: Vec<&str> = complaints.iter().take(60).map(String::as_str).collect();
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), questions.len(), shown.join("\n"));
}

fn difference(ground: &Ground, question: &Question, target: &[Option<String>]) -> Option<String> {
    let source = match rows(ground, &question.source) {
        Ok(source) => source,
        // An error of SQLite's own is no row that could differ.
        Err(_) => return None,
    };
    let complaint = |what: String| Some(format!("{}\n    {what}", question.what));
    if source.len() != target.len() {
        return complaint(format!("{target:?}"));
    }
    let differ = source.iter().zip(target).find(|((_, cell), answer)| !same(cell, answer.as_deref()));
    differ.and_then(|((id, cell), answer)| complaint(format!("row {id}: {cell:?}, but {answer:?}")))
}

fn rows(ground: &Ground, query: &str) -> rusqlite::Result<Vec<(i64, Value)>> {
    let mut statement = ground.source.prepare(query)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Most say nothing of NULLs, and of a column that holds none that says as much as SQLite's order; where there are some, PostgreSQL is told.
#[test]
fn an_index_gives_the_rows_in_the_order_that_an_application_asks_for() {
    let ground = copied(
        "create table visit (id integer primary key, site integer not null, at text not null, length integer);
         create index visit_at on visit (at);
         create index visit_site on visit (site, at desc);
         create index visit_length on visit (length desc);
         insert into visit values (1, 1, 'b', 3), (2, 1, 'a', null), (3, 2, 'c', 1)",
    );
    for (order, index) in [
        ("order by at limit 2", "visit_at"),
        ("order by at desc limit 2", "visit_at"),
        ("where site = 1 order by at desc", "visit_site"),
        ("order by site, at desc", "visit_site"),
        ("order by length nulls first", "visit_length"),
        ("order by length desc nulls last", "visit_length"),
    ] {
        let asked = format!(
            "set enable_seqscan = off; set enable_bitmapscan = off; explain select * from visit {order}"
        );
        let plan: Vec<String> =
            psql(&ground.target.url, &asked).into_iter().filter_map(|row| row.into_iter().next()?).collect();
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("Sort"), "{order}:\n{plan}");
    }
}

fn rows_of(source: &Connection, query: &str) -> Vec<Vec<Value>> {
    let mut statement = source.prepare(query).expect("SQLite takes the query");
    let width = statement.column_count();
    let rows = statement.query_map([], |row| (0..width).map(|column| row.get(column)).collect());
    rows.and_then(Iterator::collect).expect("SQLite answers the query")
}

fn same(cell: &Value, shown: Option<&str>) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    match (cell, shown) {
        (Value::Null, None) => true,
        (Value::Integer(value), Some(shown)) => match shown {
            "true" => *value == 1,
            "false" => *value == 0,
            _ => match shown.parse::<i64>() {
                Ok(shown) => shown == *value,
                #[allow(clippy::cast_precision_loss)] // Only for numbers shown with a fraction or exponent.
                Err(_) => number(shown) == Some(*value as f64),
            },
        },
        (Value::Real(value), Some(shown)) => number(shown) == Some(*value),
        (Value::Text(text), Some(shown)) => text == shown,
        (Value::Blob(bytes), Some(shown)) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            shown == format!("\\x{digits}")
        }
        (Value::Null, Some(_)) | (_, None) => false,
    }
}
