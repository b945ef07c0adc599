//! The law of this layer, for its tests: a cell is called exact if and only if its bytes decode to that cell.
//!
//! It is asserted for every cell that a test encodes, whatever else the test is about.

use super::form::{ArrayText, ByteOrder, Case, Dress, Trim, Unit, UuidText, Words};
use super::{Codec, Fit, Form, Hints, Zone};
use crate::model::cell::Cell;
use crate::model::types::{NumericLimit, Type};
use proptest::prelude::*;

/// Encodes the cell, asserts the law, and gives the bytes in hexadecimal, as PostgreSQL's `encode(…, 'hex')` does.
pub(super) fn crossing(ty: &Type, form: Form, cell: Cell<'_>) -> (Fit, String) {
    let codec = Codec::new(ty.clone(), form, Zone::Utc);
    let mut out = b"before".to_vec();
    let fit = codec.encode(cell, &mut out);
    let bytes = out.strip_prefix(b"before").expect("only appended to");
    match fit {
        Fit::Null => assert_eq!((cell, bytes), (codec.nothing(), &[][..]), "{ty:?} {form}"),
        Fit::Lost(_) => {
            assert!(bytes.is_empty(), "{ty:?} {form} {cell:?}: {fit:?} left {bytes:?}")
        }
        Fit::Exact | Fit::Kept(_) => {
            let mut scratch = b"left over".to_vec();
            let back = codec.decode(bytes, &mut scratch).expect("what encode wrote decodes");
            if *ty == Type::Jsonb {
                // The value is the law here: its one spelling means itself.
                let mut again = Vec::new();
                codec.encode(back, &mut again);
                assert_eq!(again, bytes, "{form} {cell:?}");
                return (fit, hex(bytes));
            }
            assert_eq!(
                fit == Fit::Exact,
                back == cell,
                "{ty:?} {form} {cell:?}: {fit:?}, but back came {back:?}"
            );
        }
    }
    (fit, hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asserts what becomes of a cell; `hex` is what PostgreSQL 15 sends for the value.
pub(super) fn check(ty: &Type, form: Form, cell: Cell<'_>, expected: (Fit, &str)) {
    let (fit, hex) = crossing(ty, form, cell);
    assert_eq!((fit, hex.as_str()), expected, "{ty:?} {form} {cell:?}");
}

pub(super) fn any_type() -> impl Strategy<Value = Type> {
    let limit = |precision, scale| Type::Numeric(Some(NumericLimit { precision, scale }));
    let text = vec![Type::Text, Type::Varchar(Some(3)), Type::Bpchar(3), Type::Citext, Type::Bytea];
    let number = vec![Type::Int2, Type::Int4, Type::Int8, Type::Oid, Type::Float4, Type::Float8, Type::Bool];
    let numeric = vec![Type::Numeric(None), limit(10, 2), limit(3, 5), limit(5, -2), limit(1000, 400)];
    let network = vec![Type::Uuid, Type::Inet, Type::Cidr, Type::Macaddr];
    let moment =
        vec![Type::Date, Type::Time(6), Type::Timestamp(6), Type::Timestamp(0), Type::Timestamptz(3)];
    let other = vec![
        Type::Interval(6),
        Type::Json,
        Type::Jsonb,
        Type::Enum(["", "1", "a b"].map(String::from).into()),
        Type::Array { element: Box::new(Type::Int4), element_oid: 23 },
        Type::Array { element: Box::new(Type::Text), element_oid: 25 },
        Type::Array { element: Box::new(Type::Jsonb), element_oid: 3802 },
    ];
    prop::sample::select([text, number, numeric, network, moment, other].concat())
}

pub(super) fn any_form() -> impl Strategy<Value = Form> {
    let numbers = vec![Form::Native, Form::Number, Form::Real, Form::Shortest, Form::Digits];
    let plain = [
        numbers,
        vec![Form::EmptyNull, Form::Affinity, Form::OtherClass, Form::Base64, Form::Latin1, Form::Unsigned],
    ]
    .concat();
    let trimmed = [Trim::Bare, Trim::Point].map(Form::Trimmed).to_vec();
    let words = Words::all().map(Form::Words).collect();
    let dressed = |dress, case| Form::UuidText(UuidText { dress, case });
    let uuid = vec![
        dressed(Dress::Hyphens, Case::Upper),
        dressed(Dress::Bare, Case::Lower),
        dressed(Dress::Braces, Case::Lower),
        dressed(Dress::Urn, Case::Upper),
        Form::UuidBlob(ByteOrder::BigEndian),
        Form::UuidBlob(ByteOrder::Mixed),
    ];
    let epoch = Unit::ALL.map(Form::Epoch).to_vec();
    let array = ArrayText::ALL.into_iter().map(Form::Array).chain([Form::List]).collect();
    prop::sample::select([plain, trimmed, words, uuid, epoch, array].concat())
}

/// Texts that some grammar here takes, and texts one letter away from them.
pub(super) fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop_oneof![
        "-?[0-9]{1,22}(\\.[0-9]{1,8})?(e-?[0-9]{1,3})?",
        "-?[0-9]{1,3}(\\.[0-9]{0,3})?",
        "(1|0|t|f|T|F|true|False|YES|no|On|off|tRUE)",
        "\\{?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\\}?",
        "(urn:uuid:)?[0-9A-F]{32}",
        "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}(/[0-9]{1,2})?",
        "[0-9a-f]{1,4}::[0-9a-f]{1,4}(/[0-9]{1,3})?",
        "[0-9a-fA-F]{2}([:-][0-9a-f]{2}){5}",
        "[0-9]{4}-[01][0-9]-[0-3][0-9]([ T][012][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,7})?(Z|[+-][01][0-9]:[0-5]0)?)?",
        "-?[Ii]nfinity",
        "-?([0-9]\\.)?[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,7})?",
        "(\\{\"a\":[0-9]{1,3}\\}|\\[[0-9],[0-9]\\]|\\[ ?\"x\" ?\\])",
        "[a-c é]{0,5}",
        "([A-D]{4}){0,2}([A-D]{2}(==)?)?",
    ];
    prop_oneof![
        8 => likely.prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_is_exact_only_if_it_comes_back(ty in any_type(), form in any_form(), text in any_text()) {
        crossing(&ty, form, Cell::Text(&text));
        crossing(&ty, form, Cell::Blob(&text));
    }

    #[test]
    fn a_number_is_exact_only_if_it_comes_back(
        ty in any_type(),
        form in any_form(),
        integer in prop_oneof![-2..70_000_i64, any::<i64>(), (0..63_u32).prop_map(|bits| 1 << bits)],
        real in prop_oneof![any::<f64>().prop_filter("no cell is NaN", |real| !real.is_nan()), -100.0..100.0],
    ) {
        crossing(&ty, form, Cell::Integer(integer));
        crossing(&ty, form, Cell::Real(real));
        crossing(&ty, form, Cell::Real(real.trunc()));
        crossing(&ty, form, Cell::Real((real * 100.0).round() / 100.0));
    }

    #[test]
    fn a_learned_form_carries_what_it_counted(ty in any_type(), texts in prop::collection::vec(any_text(), 1..4)) {
        let mut learner = super::learn::Learner::new(ty, Hints::default());
        texts.iter().for_each(|text| learner.observe(Cell::Text(text)));
        let learned = learner.learned();
        let exact = |text: &&Vec<u8>| learned.codec.encode(Cell::Text(text), &mut Vec::new()) == Fit::Exact;
        prop_assert!(learned.exact <= texts.iter().filter(exact).count() as u64);
        prop_assert_eq!(learned.exact + learned.elsewhere + learned.kept + learned.lost, texts.len() as u64);
    }
}
