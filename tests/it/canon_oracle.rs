//! Canonical bytes against their source: for generated values, what we write is what PostgreSQL's own send function gives, and
//! what we call lost PostgreSQL refuses. Texts that only one side's grammar takes are not generated here.

use crate::support::{database, postgres_major, psql};
use liteferry::canon::{Codec, Fit, Form, Zone};
use liteferry::model::cell::Cell;
use liteferry::model::name::literal;
use liteferry::model::types::{NumericLimit, Type};
use proptest::strategy::{Strategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::TestRunner;

/// Of each pattern so many values.
const VALUES: usize = 400;

const DECIMAL: &str = "-?[0-9]{1,24}(\\.[0-9]{1,9})?(e-?[0-9]{1,2})?";
/// Decimals on the edges of rounding and of carrying.
const EDGE: &str = "-?(9{1,9}|0|[0-9]{1,3})\\.(9{1,8}|0{1,3}[0-9]{0,3}|[0-9]{1,2}5)";
const OCTET: &str = "(0|[1-9][0-9]?|1[0-9][0-9]|2[0-9][0-9])";
const DATE: &str = "(0[1-9]|[1-9][0-9])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])";
const CLOCK: &str = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?";

/// Gives the bytes in hexadecimal, or NULL where the value is refused.
const SEND: &str = "
    create function sent(send text, type text, value text) returns text language plpgsql as $$
    declare bytes text;
    begin
        execute format('select encode(%s(%L::%s), ''hex'')', send, value, type) into bytes;
        return bytes;
    exception when data_exception then
        return null;
    end $$";

struct Sample {
    send: &'static str,
    ty: Type,
    text: String,
}

#[test]
fn canonical_bytes_are_those_that_postgresql_sends() {
    let samples = samples();
    let target = database();
    psql(&target.url, SEND);
    psql(&target.url, &format!("alter database {} set timezone = 'UTC'", target.name));
    let row = |sample: &Sample| {
        let [send, ty, text] = [sample.send, &sample.ty.sql(), &sample.text].map(literal);
        format!("({send}, {ty}, {text})")
    };
    let values: Vec<String> = samples.iter().map(row).collect();
    let query = format!(
        "select sent(send, type, value) from (values {}) sample (send, type, value)",
        values.join(", ")
    );
    let sent = psql(&target.url, &query);
    assert_eq!(sent.len(), samples.len());
    for (sample, sent) in samples.iter().zip(sent) {
        assert_eq!(written(sample), sent[0], "{} {:?}", sample.ty.sql(), sample.text);
    }
}

/// Our bytes in hexadecimal; nothing where the cell is lost.
fn written(sample: &Sample) -> Option<String> {
    let mut bytes = Vec::new();
    let codec = Codec::new(sample.ty.clone(), Form::Native, Zone::Utc);
    match codec.encode(Cell::Text(sample.text.as_bytes()), &mut bytes) {
        Fit::Exact | Fit::Kept(_) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        Fit::Lost(_) | Fit::Null => None,
    }
}

fn samples() -> Vec<Sample> {
    let limited = |precision, scale| Type::Numeric(Some(NumericLimit { precision, scale }));
    let numerics = [
        Type::Numeric(None),
        limited(10, 2),
        limited(5, -2),
        limited(3, 5),
        limited(1000, 300),
        limited(6, 6),
    ];
    // Before version 15 a scale lies between 0 and the precision.
    let within = |ty: &Type| match ty {
        Type::Numeric(Some(limit)) => (0..=i32::from(limit.precision)).contains(&i32::from(limit.scale)),
        _ => true,
    };
    let any_scale = postgres_major() >= 15;
    let numerics = numerics
        .into_iter()
        .filter(|ty| any_scale || within(ty))
        .flat_map(|ty| [DECIMAL, EDGE].map(|pattern| ("numeric_send", ty.clone(), pattern.to_owned())));
    let moment = format!("{DATE} {CLOCK}");
    let others = [
        ("int2send", Type::Int2, "-?[1-9][0-9]{0,5}".to_owned()),
        ("int8send", Type::Int8, "-?[1-9][0-9]{0,19}".to_owned()),
        ("float8send", Type::Float8, DECIMAL.to_owned()),
        ("uuid_send", Type::Uuid, "[0-9a-fA-F]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}".to_owned()),
        ("inet_send", Type::Inet, format!("({OCTET}\\.){{3}}{OCTET}(/[1-3]?[1-9])?")),
        ("inet_send", Type::Inet, "([0-9a-f]{1,4}:){1,6}:[0-9a-f]{1,4}(/[1-9][0-9]?)?".to_owned()),
        ("cidr_send", Type::Cidr, format!("{OCTET}\\.(0|128|16)\\.0\\.0/[1-3]?[1-9]")),
        ("macaddr_send", Type::Macaddr, "[0-9a-fA-F]{2}(:[0-9a-f]{2}){5}".to_owned()),
        ("bpcharsend", Type::Bpchar(5), "[a-zé ]{0,5}".to_owned()),
        ("varcharsend", Type::Varchar(Some(5)), "[a-zé ]{0,5}".to_owned()),
        ("date_send", Type::Date, DATE.to_owned()),
        ("time_send", Type::Time(6), CLOCK.to_owned()),
        ("timestamp_send", Type::Timestamp(6), moment.clone()),
        (
            "timestamptz_send",
            Type::Timestamptz(6),
            format!("{moment}(Z| UTC|[+-](0[0-9]|1[0-4]):[0-5][0-9])?"),
        ),
        (
            "jsonb_send",
            Type::Jsonb,
            "\\{\"(a|bb)\": ?[1-9][0-9]{0,3}(\\.[0-9]{1,3})?, ?\"c\":\\[true,null\\]\\}".to_owned(),
        ),
    ];
    let mut runner = TestRunner::deterministic();
    let mut samples = Vec::new();
    for (send, ty, pattern) in numerics.chain(others) {
        let texts = string_regex(&pattern).expect("the patterns here are regular");
        for _ in 0..VALUES {
            let text = texts.new_tree(&mut runner).expect("every pattern has values").current();
            samples.push(Sample { send, ty: ty.clone(), text });
        }
    }
    samples
}
