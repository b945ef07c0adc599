//! Golden pairs. Each family was compared with both databases, value by value, before it was written down here.

use super::*;

fn column(name: &str, affinity: Affinity, ty: Type, classes: &[Class]) -> ScopeColumn {
    let collation = if name == "nc" { "NOCASE" } else { "BINARY" };
    ScopeColumn {
        unique: false,
        qualifier: "t".into(),
        name: name.into(),
        affinity,
        collation: collation.into(),
        sql: crate::model::name::ident(name),
        form: Form::Native,
        ty,
        classes: classes.to_vec(),
        integers: classes.contains(&Class::Integer).then_some((-1000, 1000)),
    }
}

fn scope() -> Scope {
    let both = [Class::Integer, Class::Real];
    let big = ScopeColumn {
        integers: Some((i64::MIN, i64::MAX)),
        ..column("big", Affinity::Integer, Type::Int8, &[Class::Integer])
    };
    let mixed = column("mixed", Affinity::Text, Type::Text, &[Class::Text, Class::Blob]);
    Scope {
        columns: vec![
            column("a", Affinity::Text, Type::Text, &[Class::Text]),
            column("nc", Affinity::Text, Type::Text, &[Class::Text]),
            column("d", Affinity::Integer, Type::Int8, &[Class::Integer]),
            column("small", Affinity::Integer, Type::Int4, &[Class::Integer]),
            column("empty", Affinity::Integer, Type::Int8, &[]),
            column("f", Affinity::Real, Type::Float8, &[Class::Real]),
            column("n", Affinity::Numeric, Type::Numeric(None), &both),
            column("active", Affinity::Numeric, Type::Bool, &[Class::Integer]),
            column("ts", Affinity::Numeric, Type::Timestamp(6), &[Class::Text]),
            column("s", Affinity::Numeric, Type::Text, &[Class::Text]),
            column("j", Affinity::Text, Type::Json, &[Class::Text]),
            column("bl", Affinity::Blob, Type::Bytea, &[Class::Blob]),
            big,
            mixed,
        ],
    }
}

fn check(purpose: Purpose, cases: &[(&str, &str)]) {
    for (expression, expected) in cases {
        let sql = translate(expression, &scope(), purpose).map(|translated| translated.sql);
        assert_eq!(sql.as_deref(), Ok(*expected), "{expression}");
    }
}

fn refused(purpose: Purpose, cases: &[(&str, &str)]) {
    for (expression, construct) in cases {
        let refusal = translate(expression, &scope(), purpose).map(|translated| translated.sql);
        let construct = construct.to_string();
        assert_eq!(refusal.map_err(|refusal| refusal.construct), Err(construct), "{expression}");
    }
}

#[test]
fn index_terms_are_immutable_and_sort_as_bytes() {
    check(
        Purpose::IndexTerm,
        &[
            ("lower(a)", "(lower(\"a\" collate \"C\") collate \"C\")"),
            ("d+1", "(\"d\" + 1)"),
            ("abs(d)", "abs(\"d\")"),
            ("length(a)", "length(\"a\")"),
            ("substr(a,1,3)", "(substr(\"a\", 1, 3) collate \"C\")"),
            ("a||'x'", "((\"a\" || 'x') collate \"C\")"),
            ("a||d", "((\"a\" || (\"d\"::text)) collate \"C\")"),
            ("coalesce(a,'')", "(coalesce(\"a\", '') collate \"C\")"),
            ("CAST(d AS TEXT)", "((\"d\"::text) collate \"C\")"),
            ("ifnull(d,0)", "coalesce(\"d\", 0)"),
            ("a COLLATE NOCASE", "(lower(\"a\" collate \"C\") collate \"C\")"),
            ("a", "\"a\""),
            ("trim(a)", "(btrim(\"a\", ' ') collate \"C\")"),
        ],
    );
    refused(
        Purpose::IndexTerm,
        &[
            ("date(ts)", "date()"),
            ("iif(json_valid(j),json_extract(j,'$.a'),NULL)", "json_valid()"),
            ("round(f)", "round()"),
            ("substr(a,-3)", "substr()"),
            ("1", "a constant in an index"),
            ("replace(a, nc, s)", "replace()"),
        ],
    );
}

#[test]
fn predicates_keep_sqlites_truth() {
    check(
        Purpose::Predicate,
        &[
            ("active AND a IS NOT NULL AND d <> 1", "(\"active\" and (\"a\" is not null) and (\"d\" <> 1))"),
            ("active = 1", "\"active\""),
            ("active = 1 AND NOT active", "(\"active\" and (not \"active\"))"),
            ("active = 0", "(not \"active\")"),
            ("active IN (0)", "(\"active\" in (false))"),
            ("d", "(\"d\" <> 0)"),
            ("NOT d", "(not (\"d\" <> 0))"),
            ("active IS NOT TRUE", "(\"active\" is not true)"),
            (
                "d IN (1,2,3) OR d BETWEEN 5 AND 9",
                "((\"d\" in (1, 2, 3)) or ((\"d\" >= 5) and (\"d\" <= 9)))",
            ),
            (
                "a GLOB '[A-Z]*' AND typeof(a)='text'",
                "((\"a\" collate \"C\" ~ '^[A-Z].*$') and (\"a\" is not null))",
            ),
            ("a LIKE 'X%'", "(lower(\"a\" collate \"C\") like 'x%')"),
            ("a NOT LIKE '10!%' ESCAPE '!'", "(not (\"a\" like '10\\%'))"),
            ("ts IS NULL", "(\"ts\" is null)"),
        ],
    );
    refused(
        Purpose::Predicate,
        &[("a", "a condition that is not a number"), ("ts > CURRENT_TIMESTAMP", "the current time")],
    );
}

#[test]
fn comparisons_stay_within_one_type() {
    check(
        Purpose::Check,
        &[
            ("d = '5'", "(\"d\" = 5)"),
            ("a = 5", "(\"a\" = '5')"),
            ("d > 0.5", "(\"d\" > 0.5)"),
            ("d >= -9223372036854775808", "(\"d\" >= '-9223372036854775808'::bigint)"),
            ("f = 0.1", "(\"f\" = '0.1'::double precision)"),
            ("n <= 12.5", "(\"n\" <= 12.5)"),
            ("nc = 'ABC'", "(lower(\"nc\" collate \"C\") = 'abc')"),
            ("a = nc", "(\"a\" = \"nc\")"),
            ("a = nc COLLATE NOCASE", "(lower(\"a\" collate \"C\") = lower(\"nc\" collate \"C\"))"),
            ("a = \"it's\"", "(\"a\" = 'it''s')"),
            ("[A] == `a`", "(\"a\" = \"a\")"),
            ("t.d != 1", "(\"d\" <> 1)"),
            ("a IS nc", "(\"a\" is not distinct from \"nc\")"),
            ("bl <> x'00'", "(\"bl\" <> '\\x00'::bytea)"),
            (
                "lower(a) < upper(a)",
                "(lower(\"a\" collate \"C\")::text collate \"C\" < upper(\"a\" collate \"C\"))",
            ),
        ],
    );
    refused(
        Purpose::Check,
        &[
            ("d = 'abc'", "a comparison of an integer with text or a blob"),
            ("active = 2", "a comparison of a truth value with another value than 0 and 1"),
            ("s = '5'", "a comparison of text with a number or a blob"),
            ("mixed > 'a'", "a comparison with \"mixed\", a column that becomes text"),
            ("ts < '2024-01-01'", "a comparison with \"ts\", a column that becomes timestamp"),
            ("d > 1e17", "a comparison with a very large number"),
            ("d < a", "a comparison of an integer with text"),
            ("d = NULL", "a comparison with NULL"),
            ("nope > 1", "the name \"nope\""),
        ],
    );
}

#[test]
fn calculations_cannot_overflow_in_postgresql_before_they_do_in_sqlite() {
    check(
        Purpose::Generated,
        &[
            ("d * d", "(\"d\" * \"d\")"),
            ("empty + 1", "(\"empty\" + 1)"),
            ("small * 2000000000", "((\"small\"::bigint) * 2000000000)"),
            ("length(a) * 2147483647", "((length(\"a\")::bigint) * 2147483647)"),
            ("coalesce(length(a), 0) * 2147483647", "((coalesce(length(\"a\"), 0)::bigint) * 2147483647)"),
            ("ifnull(d, 0) * 2", "(coalesce(\"d\", 0) * 2)"),
            ("big / 2", "(\"big\" / 2)"),
            ("big % -1", "(\"big\" % (-1))"),
            ("active + 1", "(((\"active\"::integer)::bigint) + 1)"),
            ("d << 40", "(\"d\" << 40)"),
        ],
    );
    refused(
        Purpose::Generated,
        &[
            ("big + 1", "the operator +"),
            ("-big", "a sign"),
            ("big / -1", "the operator /"),
            ("d / 0", "the operator /"),
            ("d / d", "the operator /"),
            ("a + 1", "the operator +"),
            ("f * 2", "the operator *"),
            ("d << 64", "the operator <<"),
            ("a || f", "||"),
        ],
    );
}

#[test]
fn checks_that_the_types_guarantee_come_out_as_true() {
    check(
        Purpose::Check,
        &[
            ("active IN (0,1)", "true"),
            ("json_valid(j)", "true"),
            ("(JSON_VALID(\"j\") OR \"j\" IS NULL)", "true"),
            ("typeof(d) IN ('integer','null')", "true"),
            ("json_valid(j) AND length(a) < 5", "(length(\"a\") < 5)"),
            ("a IN ('a', 'b')", "(\"a\" in ('a', 'b'))"),
            ("typeof(d) = 'integer'", "(\"d\" is not null)"),
        ],
    );
    refused(Purpose::Check, &[("NOT json_valid(j)", "json_valid()"), ("json_valid(a)", "json_valid()")]);
}

#[test]
fn a_collate_below_the_top_is_refused() {
    refused(
        Purpose::Check,
        &[
            ("lower(a COLLATE NOCASE) = 'x'", "COLLATE within an expression"),
            ("iif(a = 'x' COLLATE NOCASE, a, s) = 'y'", "COLLATE within an expression"),
            ("a = 'x' COLLATE german", "collation german"),
        ],
    );
}

#[test]
fn depth_is_bounded_and_long_chains_are_not_deep() {
    let chain = vec!["d = 1"; 500].join(" or ");
    assert!(translate(&chain, &scope(), Purpose::Check).is_ok());
    let deep = format!("{}d{}", "abs(".repeat(100), ")".repeat(100));
    assert!(translate(&deep, &scope(), Purpose::Check).is_err());
}
