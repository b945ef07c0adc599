//! Golden pairs. Each was run on both databases and gave the same rows before it was written down here.

use super::*;

struct Shop;

impl ViewTables for Shop {
    fn table(&self, name: &str) -> Option<ViewTable> {
        let column = |name: &str, affinity, ty, class| ScopeColumn {
            unique: name == "id",
            qualifier: String::new(),
            name: name.into(),
            affinity,
            collation: if name == "nc" { "NOCASE" } else { "BINARY" }.into(),
            sql: ident(name),
            ty,
            form: Form::Native,
            classes: vec![class],
            integers: (class == Class::Integer).then_some((0, 1000)),
        };
        let columns = match name.to_ascii_lowercase().as_str() {
            "t" => vec![
                column("Id", Affinity::Integer, Type::Int8, Class::Integer),
                column("a", Affinity::Text, Type::Text, Class::Text),
                column("nc", Affinity::Text, Type::Text, Class::Text),
                column("b", Affinity::Numeric, Type::Bool, Class::Integer),
                column("f", Affinity::Real, Type::Float8, Class::Real),
                column("ts", Affinity::Numeric, Type::Timestamp(6), Class::Text),
            ],
            "u" => vec![
                column("uid", Affinity::Integer, Type::Int8, Class::Integer),
                column("tid", Affinity::Integer, Type::Int8, Class::Integer),
            ],
            _ => return None,
        };
        Some(ViewTable { sql: format!("\"s\".{}", ident(&name.to_ascii_lowercase())), columns })
    }
}

fn check(query: &str, expected: &str) {
    let view = translate_view(&format!("create view v as {query}"), &Shop);
    assert_eq!(view.map(|view| view.query).as_deref(), Ok(expected), "{query}");
}

fn refused(query: &str, construct: &str) {
    let refusal =
        translate_view(&format!("create view v as {query}"), &Shop).map_err(|refusal| refusal.construct);
    assert_eq!(refusal.map(|view| view.query), Err(construct.to_owned()), "{query}");
}

#[test]
fn names_and_stars_are_written_out() {
    check(
        "select * from U",
        "select \"U\".\"uid\" as \"uid\", \"U\".\"tid\" as \"tid\" from \"s\".\"u\" as \"U\"",
    );
    check(
        "select x.id as k, u.* from t x, u where u.tid = x.id and b",
        "select \"x\".\"Id\" as \"k\", \"u\".\"uid\" as \"uid\", \"u\".\"tid\" as \"tid\" from \"s\".\"t\" as \"x\" cross join \
         \"s\".\"u\" as \"u\" where ((\"u\".\"tid\" = \"x\".\"Id\") and \"x\".\"b\")",
    );
    let listed = translate_view("create view v(p, q) as select uid, tid + 1 from u", &Shop);
    let expected = "select \"u\".\"uid\" as \"p\", (\"u\".\"tid\" + 1) as \"q\" from \"s\".\"u\" as \"u\"";
    assert_eq!(listed.map(|view| view.query).as_deref(), Ok(expected));
}

#[test]
fn groups_and_aggregates_keep_their_types() {
    check(
        "select a, count(*) as c, sum(id) as s, avg(id) as m, a = 'x' as is_x from t group by a having max(id) > 3",
        "select \"t\".\"a\" as \"a\", count(*) as \"c\", ((sum(\"t\".\"Id\"))::bigint) as \"s\", \
         ((sum(\"t\".\"Id\"))::double precision / (count(\"t\".\"Id\"))) as \"m\", (\"t\".\"a\" = 'x')::integer as \"is_x\" \
         from \"s\".\"t\" as \"t\" group by \"t\".\"a\" having ((max(\"t\".\"Id\")) > 3)",
    );
    refused("select sum(f) as s from t", "sum()");
    refused("select group_concat(a) as g from t", "group_concat()");
    refused("select nc, count(*) as c from t group by nc", "GROUP BY");
    refused("select distinct nc from t", "DISTINCT");
    refused("select max(nc) as m from t", "max()");
}

#[test]
fn order_is_sqlites_and_limits_need_one() {
    check(
        "select uid from u order by uid desc limit 5",
        "select \"u\".\"uid\" as \"uid\" from \"s\".\"u\" as \"u\" order by \"u\".\"uid\" desc nulls last limit 5",
    );
    check(
        "select nc from t order by 1",
        "select \"t\".\"nc\" as \"nc\" from \"s\".\"t\" as \"t\" order by (lower(\"t\".\"nc\" collate \"C\") collate \"C\") asc nulls first",
    );
    refused("select uid from u limit 5", "LIMIT without ORDER BY");
    refused("select uid from u order by uid limit 5, 3", "LIMIT with an offset");
    refused("select ts from t order by ts limit 3", "ORDER BY");
}

#[test]
fn unions_bind_from_left_to_right() {
    check(
        "select id from t union select uid from u intersect select tid from u order by id",
        "((select \"t\".\"Id\" as \"Id\" from \"s\".\"t\" as \"t\") union (select \"u\".\"uid\" as \"Id\" from \"s\".\"u\" as \"u\")) \
         intersect (select \"u\".\"tid\" as \"Id\" from \"s\".\"u\" as \"u\") order by 1 asc nulls first",
    );
    refused("select id from t union all select a from t", "UNION ALL");
}

#[test]
fn common_tables_hide_tables_and_never_recur() {
    check(
        "with t(one) as (select uid from u) select one from t",
        "with \"t\" as (select \"u\".\"uid\" as \"one\" from \"s\".\"u\" as \"u\") select \"t\".\"one\" as \"one\" from \"t\" as \"t\"",
    );
    refused("with t as (select id from t) select id from t", "a recursive WITH");
}

#[test]
fn what_is_not_surely_the_same_is_refused() {
    refused("select count(*) from t", "a calculated column without a name");
    refused("select uid from nope", "the relation \"nope\"");
    refused("select id from t natural join u", "NATURAL JOIN");
    refused("select id from t join u using (id)", "JOIN … USING");
    refused("select id from t where exists (select 1 from u)", "a subquery");
    refused("select id as x, a as X from t", "a result column named \"X\"");
    refused("values (1)", "VALUES");
    refused("select \"nope\" as n from t", "the name \"nope\"");
}
