//! The way back: what a value of PostgreSQL's becomes in SQLite, spelt as its column spells its values.
//!
//! A spelling counts only if it crosses to the very same bytes again. Where the column's form has none, the value is written in
//! another that does, and said to be foreign; nothing is rounded, and nothing is lost but the sign of a zero and, outside of keys, the
//! zeros at a decimal's end.

use super::{Codec, Fit, Form, interval, numeric, unread};
use crate::model::cell::{Cell, CellBuf};
use crate::model::schema::Affinity;
use crate::model::types::Type;

#[derive(Clone, Debug, PartialEq)]
pub enum Back<'a> {
    /// As the column spells its values.
    Spelt(Cell<'a>),
    /// In a spelling that is not the column's.
    Foreign(CellBuf),
}

/// Spellings that hold more than most, the plainer first.
const OTHERS: [Form; 3] = [Form::Native, Form::Digits, Form::Real];

impl Codec {
    /// For a column of this affinity, which may change what is written to it: a text that it would take for a number is written as a
    /// BLOB.
    pub fn back<'a>(&self, affinity: Affinity, bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Back<'a> {
        let mut again = Vec::new();
        let is_another =
            |cell| matches!(self.ty, Type::Interval(_)) && interval::is_iso_instead(self.form, cell);
        let spelt = self.decode(bytes, scratch).is_ok_and(|cell| {
            let stored = stored(affinity, cell).filter(|cell| !is_another(*cell));
            stored.is_some_and(|cell| self.crosses_to(cell, Some(bytes), &mut again))
        });
        if spelt && let Ok(cell) = self.decode(bytes, scratch) {
            return Back::Spelt(cell);
        }
        Back::Foreign(self.foreign(affinity, bytes))
    }

    /// The same for a column that is part of no key. A decimal that ends in zeros (12.00) is the number without them where the column holds
    /// numbers: SQLite has always kept it so, and an application would rather meet that one than a BLOB. Keys are told apart to the last digit.
    pub fn back_in_row<'a>(&self, affinity: Affinity, bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Back<'a> {
        match self.shortened(affinity, bytes) {
            Some(number) => Back::Foreign(number),
            None => self.back(affinity, bytes, scratch),
        }
    }

    fn shortened(&self, affinity: Affinity, bytes: &[u8]) -> Option<CellBuf> {
        if self.ty != Type::Numeric(None) {
            return None;
        }
        let (plain, mut scratch, mut again) = (self.plain(), Vec::new(), Vec::new());
        let number =
            plain.decode(bytes, &mut scratch).ok().filter(|cell| stored(affinity, *cell) == Some(*cell))?;
        let is_number = matches!(number, Cell::Integer(_) | Cell::Real(_));
        let is_short = is_number
            && plain.encode(number, &mut again) == Fit::Exact
            && again != bytes
            && numeric::differ_in_scale_alone(bytes, &again);
        is_short.then(|| number.to_buf())
    }

    /// Whether the cell, as it stands, crosses to these bytes; `None` is PostgreSQL's NULL.
    pub fn crosses_to(&self, cell: Cell<'_>, bytes: Option<&[u8]>, scratch: &mut Vec<u8>) -> bool {
        scratch.clear();
        match (self.encode(cell, scratch), bytes) {
            (Fit::Null | Fit::Lost(_), bytes) => bytes.is_none(),
            (Fit::Exact | Fit::Kept(_), bytes) => bytes == Some(scratch),
        }
    }

    /// The same column, once values have come back into it in other spellings than its own.
    pub fn having_come_back(self, affinity: Affinity) -> Codec {
        Codec { came_back: Some(affinity), ..self }
    }

    /// The same, where what came back was of the same type and affinity.
    pub fn as_came_back_to(self, before: &Codec) -> Codec {
        let came_back = before.came_back.filter(|_| before.ty == self.ty);
        Codec { came_back, ..self }
    }

    /// As if none had.
    fn plain(&self) -> Codec {
        Codec { came_back: None, ..self.clone() }
    }

    /// The value that came back as this cell, where it is one.
    pub(super) fn foreign_value(&self, affinity: Affinity, cell: Cell<'_>) -> Option<Vec<u8>> {
        let plain = self.plain();
        let text = match cell {
            Cell::Text(text) | Cell::Blob(text) => Some(text),
            Cell::Null | Cell::Integer(_) | Cell::Real(_) => None,
        };
        let by_form = |form: Form| {
            let codec = Codec { form, ..plain.clone() };
            unread::crossed(&codec, text.map_or(cell, Cell::Text))
        };
        let proposed = OTHERS.into_iter().filter_map(by_form);
        let mut proposed = proposed.chain(text.and_then(|text| unread::proposed(&plain, text)));
        proposed.find(|bytes| plain.back(affinity, bytes, &mut Vec::new()) == Back::Foreign(cell.to_buf()))
    }

    /// The cell as which this value came back, where it can be told from it again.
    pub(super) fn foreign_cell(&self, affinity: Affinity, bytes: &[u8]) -> Option<CellBuf> {
        let (plain, mut scratch) = (self.plain(), Vec::new());
        let cell = match plain.back(affinity, bytes, &mut scratch) {
            Back::Spelt(_) => return None,
            Back::Foreign(cell) => cell,
        };
        // A cell that the form itself reads means what the form says.
        let is_exact = plain.encode(cell.as_cell(), &mut Vec::new()) == Fit::Exact;
        let is_told = !is_exact && self.foreign_value(affinity, cell.as_cell()).as_deref() == Some(bytes);
        is_told.then_some(cell)
    }

    /// Whether the column's own form reads the cell as another value: to write it would say that one.
    fn means_another(&self, cell: Cell<'_>, bytes: &[u8]) -> bool {
        let mut again = Vec::new();
        self.plain().encode(cell, &mut again) == Fit::Exact && again != bytes
    }

    fn foreign(&self, affinity: Affinity, bytes: &[u8]) -> CellBuf {
        let (mut scratch, mut again, mut text) = (Vec::new(), Vec::new(), None);
        if matches!(self.ty, Type::Numeric(_)) && bytes == numeric::NAN {
            return CellBuf::Text(unread::NAN.to_vec());
        }
        for form in OTHERS {
            let codec = Codec { form, ..self.plain() };
            let Ok(cell) = codec.decode(bytes, &mut scratch) else { continue };
            match cell {
                Cell::Real(value) if value.is_nan() => return CellBuf::Text(unread::NAN.to_vec()),
                Cell::Real(value) if value.is_infinite() && stored(affinity, cell).is_none() => {
                    return CellBuf::Text(unread::word_of_infinity(value).to_vec());
                }
                // Both zeros are equal, and an application would rather meet the other one than a BLOB.
                Cell::Real(0.0) if let Some(zero) = stored(affinity, Cell::Real(0.0)) => {
                    return zero.to_buf();
                }
                Cell::Null | Cell::Integer(_) | Cell::Real(_) | Cell::Text(_) | Cell::Blob(_) => {}
            }
            let is_kept =
                codec.crosses_to(cell, Some(bytes), &mut again) && stored(affinity, cell) == Some(cell);
            if is_kept && !self.means_another(cell, bytes) {
                return cell.to_buf();
            }
            if let Cell::Text(spelt) = cell {
                text.get_or_insert_with(|| spelt.to_vec());
            }
        }
        match text {
            Some(text) if stored(affinity, Cell::Text(&text)).is_some() => CellBuf::Text(text),
            Some(text) => CellBuf::Blob(text),
            None => CellBuf::Blob(bytes.to_vec()),
        }
    }
}

/// What SQLite keeps of a cell that is written to a column. `None` where it keeps something that is not told here, or NULL.
fn stored(affinity: Affinity, cell: Cell<'_>) -> Option<Cell<'_>> {
    match (affinity, cell) {
        (_, Cell::Real(value)) if value.is_nan() => None,
        (_, Cell::Null | Cell::Blob(_)) | (Affinity::Blob, _) => Some(cell),
        (Affinity::Text, Cell::Text(_)) => Some(cell),
        (Affinity::Text, Cell::Integer(_) | Cell::Real(_)) => None,
        (Affinity::Integer | Affinity::Numeric, Cell::Integer(_)) => Some(cell),
        (Affinity::Integer | Affinity::Numeric, Cell::Real(value)) => Some(whole(value).unwrap_or(cell)),
        (Affinity::Real, Cell::Integer(value)) => value.to_string().parse().ok().map(Cell::Real),
        // It keeps a whole number as an integer, which has no negative zero.
        (Affinity::Real, Cell::Real(value)) => Some(Cell::Real(value + 0.0)),
        (Affinity::Integer | Affinity::Numeric | Affinity::Real, Cell::Text(text)) => {
            (!is_number(text)).then_some(cell)
        }
    }
}

/// A float that is an integer of 64 bits.
fn whole(value: f64) -> Option<Cell<'static>> {
    let text = (value.abs() < TWO_TO_63).then(|| format!("{value}"))?;
    text.parse().ok().or((value == 0.0).then_some(0)).map(Cell::Integer)
}

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// Whether SQLite takes the text for a number.
fn is_number(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let text = text.trim_matches(|letter: char| matches!(letter, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r'));
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) =
        unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|letter| letter.is_ascii_digit());
    let is_exponent = |text: &str| {
        let text = text.strip_prefix(['+', '-']).unwrap_or(text);
        !text.is_empty() && digits(text)
    };
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(is_exponent)
}

#[cfg(test)]
mod tests {
    use super::super::law::{any_form, any_text, any_type};
    use super::*;
    use crate::canon::Zone;
    use crate::model::types::NumericLimit;
    use proptest::prelude::*;

    fn back(ty: Type, (form, affinity): (&str, Affinity), bytes: &[u8]) -> (&'static str, CellBuf) {
        let codec = Codec::new(ty, form.parse().expect("a form"), Zone::Utc);
        match codec.back(affinity, bytes, &mut Vec::new()) {
            Back::Spelt(cell) => ("spelt", cell.to_buf()),
            Back::Foreign(cell) => ("foreign", cell),
        }
    }

    #[test]
    fn a_value_is_spelt_as_its_column_spells_it_if_it_can_be() {
        use Affinity::{Blob, Integer, Numeric, Real};
        let text = |text: &str| CellBuf::Text(text.as_bytes().to_vec());
        let float = |value: f64| value.to_be_bytes();
        let micros = |value: i64| value.to_be_bytes();
        let money = || Type::Numeric(Some(NumericLimit { precision: 30, scale: 2 }));
        // 12345678901234567890.12, in no float.
        let much =
            [0, 6, 0, 4, 0, 0, 0, 2, 0x04, 0xd2, 0x16, 0x2e, 0x23, 0x34, 0x0d, 0x80, 0x1e, 0xd2, 0x04, 0xb0];
        let ulong = || Type::Numeric(Some(NumericLimit::UNSIGNED));
        // 2^64 - 1 and 5.00.
        let highest = [0, 5, 0, 4, 0, 0, 0, 0, 0x07, 0x34, 0x1a, 0x58, 0x02, 0xe1, 0x03, 0xbb, 0x06, 0x4f];
        let five = [0, 1, 0, 0, 0, 0, 0, 2, 0, 5];
        let (digits, month) = ("12345678901234567890.12", [&[0; 12][..], &[0, 0, 0, 1]].concat());
        for (ty, form, bytes, expected) in [
            (Type::Bool, ("words-yes-no", Numeric), &[1][..], ("spelt", text("yes"))),
            (Type::Bool, ("native", Numeric), &[0], ("spelt", CellBuf::Integer(0))),
            (Type::Int4, ("digits", Affinity::Text), &[0, 0, 0, 7], ("spelt", text("7"))),
            (Type::Int4, ("digits", Integer), &[0, 0, 0, 7], ("foreign", CellBuf::Integer(7))),
            (Type::Float8, ("native", Real), &float(0.1), ("spelt", CellBuf::Real(0.1))),
            (Type::Float8, ("native", Real), &float(f64::INFINITY), ("spelt", CellBuf::Real(f64::INFINITY))),
            (Type::Float8, ("native", Blob), &float(-0.0), ("spelt", CellBuf::Real(-0.0))),
            (Type::Float8, ("native", Real), &float(-0.0), ("foreign", CellBuf::Real(0.0))),
            (Type::Float8, ("native", Numeric), &float(-0.0), ("foreign", CellBuf::Integer(0))),
            (Type::Float4, ("native", Integer), &(-0.0f32).to_be_bytes(), ("foreign", CellBuf::Integer(0))),
            (Type::Float8, ("native", Affinity::Text), &float(-0.0), ("foreign", text("-0.0"))),
            (Type::Float8, ("native", Real), &float(f64::NAN), ("foreign", text("NaN"))),
            (
                Type::Timestamp(6),
                ("epoch-s", Integer),
                &micros(1_500_000),
                ("spelt", CellBuf::Real(946_684_801.5)),
            ),
            (Type::Interval(6), ("duration-us", Integer), &month, ("foreign", text("P1M"))),
            (Type::Interval(6), ("duration-dotnet", Affinity::Text), &month, ("foreign", text("P1M"))),
            (Type::Interval(6), ("duration-iso", Affinity::Text), &month, ("spelt", text("P1M"))),
            (Type::Timestamp(6), ("native", Numeric), &micros(i64::MAX), ("spelt", text("infinity"))),
            (Type::Timestamp(6), ("epoch-s", Integer), &micros(i64::MAX), ("foreign", text("infinity"))),
            (money(), ("native", Blob), &much, ("foreign", text(digits))),
            (money(), ("native", Numeric), &much, ("foreign", CellBuf::Blob(digits.as_bytes().to_vec()))),
            (money(), ("digits-trimmed-1", Affinity::Text), &five, ("spelt", text("5.0"))),
            (money(), ("digits-trimmed", Affinity::Text), &five, ("spelt", text("5"))),
            (ulong(), ("unsigned", Integer), &highest, ("spelt", CellBuf::Integer(-1))),
            (ulong(), ("unsigned", Integer), &[0, 1, 0, 0, 0, 0, 0, 0, 0, 5], ("spelt", CellBuf::Integer(5))),
            // The form reads -5 as 2^64 - 5.
            (
                ulong(),
                ("unsigned", Integer),
                &[0, 1, 0, 0, 0x40, 0, 0, 0, 0, 5],
                ("foreign", CellBuf::Blob(b"-5".to_vec())),
            ),
            (Type::Other("point".into()), ("native", Blob), &[1, 2], ("foreign", CellBuf::Blob(vec![1, 2]))),
        ] {
            assert_eq!(back(ty.clone(), form, bytes), expected, "{ty:?} {form:?}");
        }
    }

    #[test]
    fn a_decimal_that_ends_in_zeros_is_the_number_without_them_outside_of_keys() {
        use Affinity::{Blob, Integer, Numeric, Real};
        let text = |text: &str| CellBuf::Text(text.as_bytes().to_vec());
        // 109.50, 12.00, 0.00 and 10^20 with a zero behind its point.
        let (fraction, whole) =
            ([0, 2, 0, 0, 0, 0, 0, 2, 0, 109, 0x13, 0x88], [0, 1, 0, 0, 0, 0, 0, 2, 0, 12]);
        let (zero, long) = ([0, 0, 0, 0, 0, 0, 0, 2], [0, 1, 0, 5, 0, 0, 0, 1, 0, 1]);
        for ((form, affinity), bytes, expected) in [
            (("native", Numeric), &fraction[..], CellBuf::Real(109.5)),
            (("native", Numeric), &whole, CellBuf::Integer(12)),
            (("native", Integer), &zero, CellBuf::Integer(0)),
            (("native", Blob), &whole, CellBuf::Integer(12)),
            (("native", Numeric), &long, CellBuf::Real(1e20)),
            (("real", Real), &whole, CellBuf::Real(12.0)),
            (("native", Affinity::Text), &whole, text("12.00")),
            (("digits", Affinity::Text), &whole, text("12.00")),
        ] {
            let plain = Codec::new(Type::Numeric(None), form.parse().expect("a form"), Zone::Utc);
            // In a second switch as in the first.
            for codec in [plain.clone(), plain.having_come_back(affinity)] {
                let mut scratch = Vec::new();
                let cell = match codec.back_in_row(affinity, bytes, &mut scratch) {
                    Back::Spelt(cell) => cell.to_buf(),
                    Back::Foreign(cell) => cell,
                };
                assert_eq!(cell, expected, "{form} {affinity:?} {codec:?}");
            }
        }
        let key = Codec::new(Type::Numeric(None), Form::Native, Zone::Utc);
        assert_eq!(
            key.back(Numeric, &whole, &mut Vec::new()),
            Back::Foreign(CellBuf::Blob(b"12.00".to_vec()))
        );
        let exact = key.back_in_row(Numeric, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 12], &mut Vec::new())
            == Back::Spelt(Cell::Integer(12));
        assert!(exact);
    }

    /// Once it has come back, it crosses as the value that it was; nothing else does for that.
    #[test]
    fn a_value_that_came_back_is_read_as_what_it_was() {
        use Affinity::{Blob, Integer, Numeric, Real};
        let money = || Type::Numeric(Some(NumericLimit { precision: 30, scale: 2 }));
        let much =
            [0, 6, 0, 4, 0, 0, 0, 2, 0x04, 0xd2, 0x16, 0x2e, 0x23, 0x34, 0x0d, 0x80, 0x1e, 0xd2, 0x04, 0xb0];
        let infinite = |sign: u8| [0, 0, 0, 0, sign, 0, 0, 0x20];
        let far = |day: i32| day.to_be_bytes();
        let stamp = |micros: i64| micros.to_be_bytes();
        // In the year 11506, and in 44 BC.
        let (late, early) = (stamp(300_000_000_000_123_456), stamp(-64_460_232_000_000_000));
        let plain = "Y-m-d H:M:S.f3Z";
        for (ty, (form, affinity), bytes, foreign) in [
            (Type::Date, ("epoch-s", Integer), &far(i32::MIN)[..], "-infinity"),
            (Type::Date, ("native", Affinity::Text), &far(-745_790), "0043-02-05 BC"),
            (Type::Date, ("native", Affinity::Text), &far(2_145_031_948), "5874897-12-31"),
            (Type::Timestamp(6), ("epoch-ms", Numeric), &stamp(i64::MAX), "infinity"),
            (Type::Timestamptz(6), (plain, Affinity::Text), &early, ""),
            (Type::Timestamp(6), ("native", Numeric), &late, ""),
            (Type::Float8, ("native", Real), &f64::NAN.to_be_bytes(), "NaN"),
            (Type::Float8, ("digits", Affinity::Text), &f64::INFINITY.to_be_bytes(), "Infinity"),
            (Type::Float4, ("native", Numeric), &f32::NAN.to_be_bytes(), "NaN"),
            (Type::Numeric(None), ("native", Numeric), &numeric::NAN, "NaN"),
            (money(), ("digits", Affinity::Text), &numeric::NAN, "NaN"),
            (Type::Numeric(None), ("digits", Affinity::Text), &infinite(0xf0), "-Infinity"),
            (money(), ("native", Blob), &much, "12345678901234567890.12"),
            (money(), ("native", Numeric), &much, "12345678901234567890.12"),
            (Type::Text, ("native", Numeric), b"007", "007"),
            (Type::Int4, ("digits", Integer), &[0, 0, 0, 7], "7"),
        ] {
            let before = Codec::new(ty.clone(), form.parse().expect("a form"), Zone::Utc);
            let what = format!("{ty:?} {form} {foreign}");
            let Back::Foreign(cell) = before.back(affinity, bytes, &mut Vec::new()) else {
                panic!("{what} is spelt")
            };
            let shown = match &cell {
                CellBuf::Text(text) | CellBuf::Blob(text) => String::from_utf8(text.clone()).expect("a text"),
                CellBuf::Integer(value) => value.to_string(),
                CellBuf::Null | CellBuf::Real(_) => panic!("{what} came back as {cell:?}"),
            };
            assert!(foreign.is_empty() || shown == foreign, "{what}: {shown}");
            let codec = before.having_come_back(affinity);
            let mut found = Vec::new();
            assert_eq!((codec.encode(cell.as_cell(), &mut found), &found[..]), (Fit::Exact, bytes), "{what}");
            assert_eq!(codec.decode(bytes, &mut Vec::new()), Ok(cell.as_cell()), "{what}");
            assert_eq!(codec.back(affinity, bytes, &mut Vec::new()), Back::Spelt(cell.as_cell()), "{what}");
        }
        let date = Codec::new(Type::Date, Form::Native, Zone::Utc).having_come_back(Numeric);
        for other in ["Infinity", "now", "epoch", "2024-13-01", "10000-01-01 BC", "02024-01-02", "0001-01-01"]
        {
            let plain = date.plain().encode(Cell::Text(other.as_bytes()), &mut Vec::new());
            assert_eq!(date.encode(Cell::Text(other.as_bytes()), &mut Vec::new()), plain, "{other}");
        }
        // The other zero is written as the one that SQLite has, and stays what that is.
        let real = Codec::new(Type::Float8, Form::Native, Zone::Utc).having_come_back(Real);
        assert_eq!(real.decode(&(-0.0f64).to_be_bytes(), &mut Vec::new()), Ok(Cell::Real(-0.0)));
        let mut zero = Vec::new();
        assert_eq!(real.encode(Cell::Real(0.0), &mut zero), Fit::Exact);
        assert_eq!(zero, 0.0f64.to_be_bytes());
    }

    const AFFINITIES: [Affinity; 5] =
        [Affinity::Blob, Affinity::Text, Affinity::Numeric, Affinity::Integer, Affinity::Real];

    /// Of a cell that the column can hold: exact if and only if its bytes decode to it. What was exact before is still, and the same.
    fn keeps_the_law(codec: &Codec, affinity: Affinity, cell: Cell<'_>) {
        if stored(affinity, cell) != Some(cell) || codec.ty == Type::Jsonb {
            return;
        }
        let came_back = codec.clone().having_come_back(affinity);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let (was, is) = (codec.encode(cell, &mut before), came_back.encode(cell, &mut after));
        let what = format!("{codec:?} {affinity:?} {cell:?}: {was:?}, {is:?}");
        if was == Fit::Exact || is != Fit::Exact {
            assert_eq!((was, &before), (is, &after), "{what}");
        }
        if let Fit::Exact | Fit::Kept(_) = is {
            let mut scratch = Vec::new();
            let back = came_back.decode(&after, &mut scratch);
            assert_eq!(is == Fit::Exact, back == Ok(cell), "{what}, but back came {back:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_column_that_values_came_back_to_keeps_the_law(
            (ty, form) in (any_type(), any_form()),
            affinity in prop::sample::select(AFFINITIES.to_vec()),
            text in prop_oneof![3 => any_text(), 1 => "-?[Ii]nfinity|NaN|[0-9]{4,6}-0[1-9]-0[1-9]( BC)?".prop_map(String::into_bytes)],
            (integer, real) in (any::<i64>(), any::<f64>()),
        ) {
            let codec = Codec::new(ty, form, Zone::Utc);
            for cell in [Cell::Text(&text), Cell::Blob(&text), Cell::Integer(integer), Cell::Integer(integer % 100), Cell::Real(real)] {
                keeps_the_law(&codec, affinity, cell);
            }
        }
    }

    /// What PostgreSQL may hold, whatever wrote it: a value as any form spells it, the zeros among them.
    fn any_value(ty: &Type, forms: [Form; 2], cell: Cell<'_>) -> Option<Vec<u8>> {
        let as_form = |form| {
            let mut bytes = Vec::new();
            let codec = Codec::new(ty.clone(), form, Zone::Utc);
            matches!(codec.encode(cell, &mut bytes), Fit::Exact | Fit::Kept(_)).then_some(bytes)
        };
        forms.into_iter().find_map(as_form)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// SQLite refuses nothing that is written back: what its column makes of the cell is the cell, or crosses as it does.
        #[test]
        fn what_is_written_back_is_what_sqlite_keeps(
            (ty, form, other) in (any_type(), any_form(), any_form()),
            affinity in prop::sample::select(AFFINITIES.to_vec()),
            (text, integer) in (any_text(), any::<i64>()),
            real in prop_oneof![3 => any::<f64>(), 1 => Just(-0.0), 1 => Just(0.0), 1 => Just(4.0), 1 => Just(-9.3e18)],
        ) {
            let codec = Codec::new(ty.clone(), form, Zone::Utc);
            for cell in [Cell::Text(&text), Cell::Blob(&text), Cell::Integer(integer), Cell::Integer(integer % 100), Cell::Real(real)] {
                let Some(bytes) = any_value(&ty, [other, Form::Native], cell) else { continue };
                let mut scratch = Vec::new();
                let back = match codec.back(affinity, &bytes, &mut scratch) {
                    Back::Spelt(cell) => cell.to_buf(),
                    Back::Foreign(cell) => cell,
                };
                let kept = stored(affinity, back.as_cell());
                let holds = |kept| kept == back.as_cell() || codec.crosses_to(kept, Some(&bytes), &mut Vec::new());
                prop_assert!(kept.is_some_and(holds), "{ty:?} {form:?} {affinity:?} {bytes:?}: {back:?}, kept as {kept:?}");
            }
        }
    }

    #[test]
    fn what_looks_like_a_number_is_told_as_sqlite_tells_it() {
        for (text, expected) in [
            ("1", true),
            (" -1.5e3 ", true),
            ("1.", true),
            (".5", true),
            ("+0", true),
            ("007", true),
            ("2024-01-02", false),
            ("", false),
            (".", false),
            ("1e", false),
            ("0x10", false),
            ("1 2", false),
            ("NaN", false),
        ] {
            assert_eq!(is_number(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_cell_crosses_to_what_stands_there_or_not() {
        let codec = Codec::new(Type::Int8, Form::Native, Zone::Utc);
        let seven = 7i64.to_be_bytes();
        let mut scratch = Vec::new();
        for (cell, bytes, expected) in [
            (Cell::Integer(7), Some(&seven[..]), true),
            (Cell::Real(7.0), Some(&seven[..]), true),
            (Cell::Integer(8), Some(&seven[..]), false),
            (Cell::Null, Some(&seven[..]), false),
            (Cell::Null, None, true),
            (Cell::Text(b"x"), None, true),
            (Cell::Text(b"x"), Some(&seven[..]), false),
            (Cell::Integer(7), None, false),
        ] {
            assert_eq!(codec.crosses_to(cell, bytes, &mut scratch), expected, "{cell:?} {bytes:?}");
        }
    }
}
