//! Learning a column's form: every value votes for the forms that would carry it exactly, and the form with most votes wins.
//!
//! What a pass over the values has seen decides, never a sample, and never a single cell against the rest.

use super::form::{Form, Hints};
use super::formset::FormSet;
use super::interval::Duration;
use super::{
    Codec, Fit, Reason, moment, moment_name, moment_unit, proposals_are_proved, proposed_forms, unread,
};
use crate::model::cell::Cell;
use crate::model::schema::Affinity;
use crate::model::types::Type;
use std::cmp::Reverse;

/// Gathers what one column's values say about how they would cross into one type.
#[derive(Clone, Debug)]
pub struct Learner {
    /// Its form is the one tried last.
    codec: Codec,
    hints: Hints,
    votes: Vec<Vote>,
    /// The forms of values that would cross exactly with fewer digits of a second, how many and from which place: what speaks where no
    /// value votes.
    leanings: Vec<(Form, u64, usize)>,
    /// Values that at least one form carries exactly.
    carried: u64,
    /// Values that every form of texts carries exactly, and that speak for none: `infinity`.
    endless: u64,
    kept: u64,
    lost: u64,
    /// Of `kept` and `lost`, the empty texts.
    empty: u64,
    first_reason: Option<Reason>,
    /// What columns like this one are spelt as.
    habit: Option<Form>,
    /// Where values are written to see whether they come back.
    trial: Vec<u8>,
    /// The forms of the last text of a common kind, for the next of that kind.
    recent: Option<((u8, bool), FormSet)>,
}

/// How a column would cross, and what of it would not.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    pub codec: Codec,
    /// Values that cross exactly: those that spoke for this form, and the endless ones where it is one of texts.
    pub exact: u64,
    /// Values without an end, `infinity`, however they cross.
    pub endless: u64,
    /// Values that spoke only for other forms: misfits under this one, as a rule.
    pub elsewhere: u64,
    /// Why these do not cross exactly, where the target holds each of them; nothing where that is not sure.
    pub kept_elsewhere: Option<Vec<Reason>>,
    /// How numbers that spoke for another form most likely count, where the learned one reads texts alone.
    pub numbers: Option<Form>,
    /// Values that no form carries exactly, but whose value the target holds.
    pub kept: u64,
    /// Values that the target cannot hold at all.
    pub lost: u64,
    /// Of `kept` and `lost`, the empty texts.
    pub empty: u64,
    /// Why the first of `kept` and `lost` does not cross exactly.
    pub first_reason: Option<Reason>,
}

#[derive(Clone, Debug)]
struct Vote {
    form: Form,
    exact: u64,
    /// The best place it had among the forms proposed for a value.
    place: usize,
    /// How many forms were proposed for the text that says the most of this one, and that text, if it is short.
    among: usize,
    sample: Option<Box<[u8]>>,
}

/// The value that speaks for a form, and for how many.
#[derive(Clone, Copy)]
struct Said<'a> {
    cell: Cell<'a>,
    among: usize,
}

impl Said<'_> {
    fn sample(self) -> Option<Box<[u8]>> {
        match self.cell {
            Cell::Text(text) if text.len() <= SAMPLE_BYTES_MAX => Some(text.into()),
            _ => None,
        }
    }
}

/// More than any time is long.
const SAMPLE_BYTES_MAX: usize = 64;
/// A trial larger than this is not kept for the next value.
const TRIAL_BYTES_MAX: usize = 64 * 1024;

impl Learner {
    pub fn new(ty: Type, hints: Hints) -> Learner {
        Learner {
            codec: Codec::new(ty, Form::Native, hints.zone),
            hints,
            votes: Vec::new(),
            leanings: Vec::new(),
            carried: 0,
            endless: 0,
            kept: 0,
            lost: 0,
            empty: 0,
            first_reason: None,
            habit: None,
            trial: Vec::new(),
            recent: None,
        }
    }

    pub fn observe(&mut self, cell: Cell<'_>) {
        if cell.is_null() {
            return;
        }
        if let Cell::Text(text) = cell
            && self.hints.form.is_none()
            && unread::infinite_moment(&self.codec.ty, text).is_some()
        {
            self.endless += 1;
            return;
        }
        let proposed = match self.hints.form {
            Some(form) => FormSet::from([form]),
            None => self.proposed(cell),
        };
        if self.hints.form.is_none() && proposed != FormSet::EMPTY && proposals_are_proved(&self.codec.ty) {
            self.carried += 1;
            let said = Said { cell, among: proposed.len() };
            proposed.into_iter().enumerate().for_each(|(place, form)| self.vote(form, place, said));
            return;
        }
        let mut first_misfit = None;
        let mut carried = false;
        let said = Said { cell, among: proposed.len() };
        for (place, form) in proposed.into_iter().enumerate() {
            match self.try_form(form, cell) {
                // No cell here is NULL: one that stands for it crosses as that.
                Fit::Exact | Fit::Null => {
                    carried = true;
                    self.vote(form, place, said);
                }
                misfit @ (Fit::Kept(_) | Fit::Lost(_)) => first_misfit = first_misfit.or(Some(misfit)),
            }
        }
        if carried {
            self.carried += 1;
        } else {
            self.empty += u64::from(cell == Cell::Text(b""));
            let counted = self.counted_but_for_digits(cell);
            let form = counted.into_iter().next().unwrap_or_else(|| self.usual());
            let misfit = first_misfit.unwrap_or_else(|| self.try_form(form, cell));
            self.count_misfit(misfit);
            if misfit == Fit::Kept(Reason::Precision) {
                let forms = if counted == FormSet::EMPTY { self.written_but_for_more(cell) } else { counted };
                forms.into_iter().enumerate().for_each(|(place, form)| self.lean_to(form, 1, place));
            }
        }
        if self.trial.capacity() > TRIAL_BYTES_MAX {
            self.trial = Vec::new();
        }
    }

    /// Adds what another learner of the same column has seen, in whatever order the parts of the table were read.
    pub fn merge(&mut self, other: Learner) {
        for vote in other.votes {
            match self.votes.iter_mut().find(|mine| mine.form == vote.form) {
                Some(mine) => {
                    mine.exact += vote.exact;
                    mine.place = mine.place.min(vote.place);
                    if vote.among < mine.among {
                        (mine.among, mine.sample) = (vote.among, vote.sample);
                    }
                }
                None => self.votes.push(vote),
            }
        }
        for (form, times, place) in other.leanings {
            self.lean_to(form, times, place);
        }
        self.carried += other.carried;
        self.endless += other.endless;
        self.kept += other.kept;
        self.lost += other.lost;
        self.empty += other.empty;
        self.first_reason = self.first_reason.or(other.first_reason);
    }

    pub fn ty(&self) -> &Type {
        &self.codec.ty
    }

    /// The form that carries this value exactly, where no other does.
    pub fn only_form_of(&self, cell: Cell<'_>) -> Option<Form> {
        let mut alone = Learner::new(self.codec.ty.clone(), self.hints);
        alone.observe(cell);
        match alone.votes.as_slice() {
            [vote] => Some(vote.form),
            _ => None,
        }
    }

    /// Whether both ask the same of their values.
    pub fn is_like(&self, other: &Learner) -> bool {
        self.codec.ty == other.codec.ty && self.hints == other.hints
    }

    /// Whether a column that crosses so is asked the same of its values.
    pub fn is_as(&self, codec: &Codec, affinity: Affinity) -> bool {
        self.codec.ty == codec.ty && self.hints.affinity == affinity && self.hints.zone == codec.zone
    }

    /// What decides where the column's own values leave its form open.
    pub fn take_habit(&mut self, habit: Form) {
        self.habit = Some(habit);
    }

    pub fn habit(&self) -> Option<Form> {
        self.habit
    }

    /// The operator's form, or the one with most votes. Among equals: the habit of columns like it, then the usual form of type and
    /// affinity, then the one that was proposed earlier, then the first by its word.
    pub fn learned(&self) -> Learned {
        let usual = self.usual();
        let rank = |vote: &&Vote| {
            (Reverse(vote.exact), Some(vote.form) != self.habit, vote.form != usual, vote.place)
        };
        let told = self.votes.iter().filter(|vote| self.is_more_than_chance(vote));
        let best = told.min_by(|one, other| {
            rank(one).cmp(&rank(other)).then_with(|| one.form.to_string().cmp(&other.form.to_string()))
        });
        // Where no value speaks, those do that are too fine for the column, and then columns like this one.
        let leaning = self.leanings.iter().min_by_key(|(_, times, place)| (Reverse(*times), *place));
        let leaning = leaning.map(|(form, ..)| *form);
        let open = self.hints.form.or(leaning).or(self.habit).unwrap_or(usual);
        let (form, votes) = best.map_or((open, 0), |vote| (vote.form, vote.exact));
        let counting = self.votes.iter().filter(|vote| vote.form.counts());
        let numbers =
            counting.filter(|_| !form.counts()).min_by_key(|vote| (Reverse(vote.exact), vote.place));
        let codec = Codec::new(self.codec.ty.clone(), form, self.hints.zone);
        Learned {
            kept_elsewhere: self.kept_elsewhere(&codec),
            codec,
            exact: votes + self.endless_as(form),
            endless: self.endless,
            elsewhere: self.carried + self.endless - votes - self.endless_as(form),
            numbers: numbers.map(|vote| vote.form),
            kept: self.kept,
            lost: self.lost,
            empty: self.empty,
            first_reason: self.first_reason,
        }
    }

    /// Of times and decimals alone, told by the text of each other form that fewest forms carry.
    fn kept_elsewhere(&self, codec: &Codec) -> Option<Vec<Reason>> {
        let is_moment =
            matches!(codec.ty, Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Timestamptz(_));
        if !is_moment && !matches!(codec.ty, Type::Numeric(_)) {
            return None;
        }
        let mut reasons = Vec::new();
        for vote in self.votes.iter().filter(|vote| vote.form != codec.form) {
            match codec.encode(Cell::Text(vote.sample.as_deref()?), &mut Vec::new()) {
                Fit::Exact => {}
                Fit::Kept(reason) if reasons.contains(&reason) => {}
                Fit::Kept(reason) => reasons.push(reason),
                Fit::Lost(_) | Fit::Null => return None,
            }
        }
        (!reasons.is_empty()).then_some(reasons)
    }

    /// Days carry some lengths of time by chance that were measured in another unit, finer than microseconds. Where they are what is
    /// counted, they carry more than another form does of those that are left.
    fn is_more_than_chance(&self, vote: &Vote) -> bool {
        if vote.form != Form::Duration(Duration::Days) {
            return true;
        }
        let others = self.votes.iter().filter(|other| other.form != vote.form);
        let other = others.map(|other| other.exact).max().unwrap_or(0);
        let missed = (self.carried + self.kept + self.lost).saturating_sub(vote.exact);
        vote.exact.saturating_sub(other) > missed
    }

    /// Values that the form carries exactly.
    pub fn votes_for(&self, form: Form) -> u64 {
        let votes = self.votes.iter().find(|vote| vote.form == form).map_or(0, |vote| vote.exact);
        votes + self.endless_as(form)
    }

    fn endless_as(&self, form: Form) -> u64 {
        if form.counts() { 0 } else { self.endless }
    }

    /// Most columns hold texts of one kind, so the last one's forms are remembered: finding them costs more than reading the text.
    fn proposed(&mut self, cell: Cell<'_>) -> FormSet {
        let find = |hints: &Hints, ty: &Type| proposed_forms(ty, cell, hints);
        let kind = match cell {
            Cell::Text(text) if proposals_are_proved(&self.codec.ty) => {
                moment::kind_of_text(&self.codec.ty, text, self.hints.zone).map(|kind| (kind, text))
            }
            _ => None,
        };
        let Some((kind, text)) = kind else { return find(&self.hints, &self.codec.ty) };
        match self.recent {
            Some((recent, forms))
                if recent == kind && moment::holds(&self.codec.ty, text, self.hints.zone) =>
            {
                forms
            }
            _ => {
                let forms = find(&self.hints, &self.codec.ty);
                if forms != FormSet::EMPTY {
                    self.recent = Some((kind, forms));
                }
                forms
            }
        }
    }

    fn usual(&self) -> Form {
        self.hints.form.unwrap_or_else(|| Form::usual(&self.codec.ty, self.hints.affinity))
    }

    fn try_form(&mut self, form: Form, cell: Cell<'_>) -> Fit {
        self.trial.clear();
        self.codec.form = form;
        self.codec.encode(cell, &mut self.trial)
    }

    fn vote(&mut self, form: Form, place: usize, said: Said<'_>) {
        match self.votes.iter_mut().find(|vote| vote.form == form) {
            Some(vote) => {
                vote.exact += 1;
                vote.place = vote.place.min(place);
                if said.among < vote.among {
                    (vote.among, vote.sample) = (said.among, said.sample());
                }
            }
            None => {
                self.votes.push(Vote { form, exact: 1, place, among: said.among, sample: said.sample() });
            }
        }
    }

    /// How a time is written that says more than PostgreSQL keeps, by its digits or a second clock behind it: what comes back is to stand
    /// beside it in the same order.
    fn written_but_for_more(&self, cell: Cell<'_>) -> FormSet {
        match cell {
            Cell::Text(text) if self.hints.form.is_none() && text.len() <= SAMPLE_BYTES_MAX => {
                let kept = as_fine_as(&self.codec.ty, moment_name::without_monotonic(text));
                proposed_forms(&self.codec.ty, Cell::Text(&kept), &self.hints)
            }
            Cell::Text(_) | Cell::Null | Cell::Blob(_) | Cell::Integer(_) | Cell::Real(_) => FormSet::EMPTY,
        }
    }

    /// What a number counts that tells a time more finely than the column keeps it.
    fn counted_but_for_digits(&self, cell: Cell<'_>) -> FormSet {
        if self.hints.form.is_some() || !proposals_are_proved(&self.codec.ty) {
            return FormSet::EMPTY;
        }
        moment_unit::forms_but_for_digits(&self.codec.ty, cell, &self.hints)
    }

    fn lean_to(&mut self, form: Form, times: u64, place: usize) {
        match self.leanings.iter_mut().find(|(mine, ..)| *mine == form) {
            Some((_, all, least)) => (*all, *least) = (*all + times, place.min(*least)),
            None => self.leanings.push((form, times, place)),
        }
    }

    fn count_misfit(&mut self, misfit: Fit) {
        let reason = match misfit {
            Fit::Kept(reason) => {
                self.kept += 1;
                reason
            }
            Fit::Lost(reason) => {
                self.lost += 1;
                reason
            }
            Fit::Null | Fit::Exact => return,
        };
        self.first_reason = self.first_reason.or(Some(reason));
    }
}

/// The text of a time without the digits of its fraction that the column has no place for.
fn as_fine_as(ty: &Type, text: &[u8]) -> Vec<u8> {
    let room = match ty {
        Type::Time(digits) | Type::Timestamp(digits) | Type::Timestamptz(digits) => *digits,
        _ => 6,
    };
    let mut digits = None;
    let kept = text.iter().filter(|letter| {
        digits = match (**letter, digits) {
            (b'.', None) => Some(0),
            (b'0'..=b'9', Some(count)) => Some(count + 1),
            (_, Some(_)) => Some(0),
            (_, None) => None,
        };
        digits.is_none_or(|count| count <= room && (room > 0 || **letter != b'.'))
    });
    kept.copied().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::canon::Zone;
    use crate::model::schema::Affinity;

    #[test]
    fn what_is_remembered_of_a_text_changes_nothing() {
        let texts = [
            "2024-01-02 03:04:05",
            "2024-01-02 03:04:06",
            "2024-01-02 03:04:00",
            "2024-01-02T03:04:05",
            "2024-01-02T03:04:00",
            "2024-02-30 03:04:05",
            "2024-01-02",
            "2024-01-03",
            "2024-13-01",
            "2024-01-02 03:04:05.5",
            "never",
            "2024-01-02 25:00:00",
        ];
        let zones = [Zone::Utc, "+02:00".parse().unwrap(), "Europe/Paris".parse().unwrap()];
        for ty in [Type::Date, Type::Time(6), Type::Timestamp(6), Type::Timestamptz(3)] {
            for (zone, first) in
                zones.iter().flat_map(|zone| (0..texts.len()).map(move |first| (*zone, first)))
            {
                let hints = Hints { zone, ..Hints::default() };
                let mut one = Learner::new(ty.clone(), hints);
                let mut apart = Learner::new(ty.clone(), hints);
                for text in texts[first..].iter().chain(&texts[..first]) {
                    one.observe(Cell::Text(text.as_bytes()));
                    let mut alone = Learner::new(ty.clone(), hints);
                    alone.observe(Cell::Text(text.as_bytes()));
                    apart.merge(alone);
                }
                assert_eq!(one.learned(), apart.learned(), "{ty:?} {zone} {first}");
            }
        }
    }

    fn learner(ty: Type, affinity: Affinity, cells: &[Cell<'_>]) -> Learner {
        let mut learner = Learner::new(ty, Hints { affinity, ..Hints::default() });
        cells.iter().for_each(|cell| learner.observe(*cell));
        learner
    }

    /// As microseconds each of these is exact, and of some year in five digits; and ticks are nanoseconds of 1990.
    #[test]
    fn counts_of_more_digits_than_a_column_keeps_are_read_by_their_size() {
        let form = |ty: Type, from: i64, step: i64| {
            let cells: Vec<Cell<'_>> = (0..50).map(|n| Cell::Integer(from + n * step)).collect();
            let learned = learner(ty, Affinity::Integer, &cells).learned();
            (learned.codec.form.to_string(), learned.exact, learned.kept)
        };
        let (now, ticks) = (1_700_000_000_123_456_789, 638_500_000_001_234_567);
        let told = |form: &str, exact, kept| (form.to_owned(), exact, kept);
        for ty in [Type::Timestamp(6), Type::Timestamptz(6)] {
            assert_eq!(form(ty.clone(), now, 1_000_000), told("epoch-ns", 0, 50), "{ty:?}");
            assert_eq!(form(ty.clone(), now, 300_000_011), told("epoch-ns", 0, 50), "{ty:?}");
            assert_eq!(form(ty.clone(), ticks, 1_000_000_011), told("epoch-ticks", 5, 45), "{ty:?}");
            assert_eq!(form(ty.clone(), ticks - 567, 10_000_000_000), told("epoch-ticks", 50, 0), "{ty:?}");
            assert_eq!(form(ty.clone(), now - 789, 1_000_000), told("epoch-ns", 50, 0), "{ty:?}");
            assert_eq!(form(ty, now / 1000, 1_000_000), told("epoch-us", 50, 0));
        }
        assert_eq!(form(Type::Timestamp(0), now / 1_000_000, 1_000_000), told("epoch-ms", 0, 50));
    }

    /// Measured lengths of time are cut to microseconds as seconds, and a REAL of days tells finer things apart than these.
    #[test]
    fn measured_seconds_are_not_taken_for_days() {
        let mut spread = 0x9e37_79b9_7f4a_7c15_u64;
        let mut measured = |longest: f64| {
            spread = spread.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Cell::Real(f64::from(u32::try_from(spread >> 32).unwrap()) / f64::from(u32::MAX) * longest)
        };
        for longest in [1e3, 3e4, 2e5, 1e6, 1e8] {
            let mut cells: Vec<Cell<'_>> = (0..1000).map(|_| measured(longest)).collect();
            let form = |cells: &[Cell<'_>]| {
                learner(Type::Interval(6), Affinity::Real, cells).learned().codec.form.to_string()
            };
            assert_ne!(form(&cells), "duration-days", "{longest}");
            cells.extend((0..200).map(|second| Cell::Real(f64::from(second) + 0.5)));
            cells.extend((0..9000).map(Cell::Integer));
            assert_eq!(form(&cells), "duration-s", "{longest}");
        }
        let hours = |hour: i32| Cell::Real(f64::from(hour) / 24.0);
        let mut days: Vec<Cell<'_>> = (1..8).map(hours).collect();
        days.extend((0..93).map(Cell::Integer));
        days.extend([Cell::Text(b"soon"), Cell::Real(1e300)]);
        let learned = learner(Type::Interval(6), Affinity::Real, &days).learned();
        assert_eq!((learned.codec.form.to_string().as_str(), learned.exact), ("duration-days", 100));
    }

    #[test]
    fn the_form_that_carries_most_values_wins() {
        let words = |word: &str| word.parse::<Form>().unwrap();
        let text = |text: &'static str| Cell::Text(text.as_bytes());
        let cases = [
            (Type::Int8, Affinity::Integer, vec![Cell::Integer(1), Cell::Null], Form::Native),
            (Type::Int8, Affinity::Text, vec![], Form::Digits),
            (Type::Bool, Affinity::Numeric, vec![text("T"), text("F"), text("t")], words("words-TF")),
            (Type::Bool, Affinity::Numeric, vec![Cell::Integer(0), Cell::Integer(1)], Form::Native),
            (Type::Float8, Affinity::Real, vec![Cell::Real(1.5)], Form::Native),
            (Type::Float8, Affinity::Numeric, vec![Cell::Real(1.5)], Form::Number),
            (
                Type::Float8,
                Affinity::Real,
                vec![Cell::Real(1.5), Cell::Integer(1), Cell::Integer(2)],
                Form::Number,
            ),
            (Type::Numeric(None), Affinity::Real, vec![Cell::Real(1.5), Cell::Real(2.0)], Form::Real),
            (Type::Numeric(None), Affinity::Numeric, vec![Cell::Real(1.5)], Form::Native),
            (Type::Text, Affinity::Blob, vec![text("a"), text("1"), Cell::Integer(1)], Form::Native),
            (Type::Text, Affinity::Integer, vec![text("two"), Cell::Integer(1)], Form::Affinity),
            (Type::Text, Affinity::Blob, vec![text("two"), Cell::Integer(1)], Form::Affinity),
            (Type::Bytea, Affinity::Blob, vec![text("php")], Form::OtherClass),
            (Type::Uuid, Affinity::Text, vec![text("00000000000000000000000000000000")], words("uuid-hex")),
            (Type::Uuid, Affinity::Blob, vec![Cell::Blob(&[7; 16])], words("uuid-blob")),
        ];
        for (ty, affinity, cells, form) in cases {
            let learned = learner(ty, affinity, &cells).learned();
            assert_eq!(learned.codec.form, form, "{:?} {affinity:?} {cells:?}", learned.codec.ty);
        }
    }

    #[test]
    fn values_are_counted_by_how_they_cross() {
        let cells = [
            Cell::Integer(1),
            Cell::Integer(0),
            Cell::Text(b"yes"),
            Cell::Text(b"YeS"),
            Cell::Integer(2),
            Cell::Null,
        ];
        let learned = learner(Type::Bool, Affinity::Numeric, &cells).learned();
        let counts = (learned.exact, learned.elsewhere, learned.kept, learned.lost);
        assert_eq!(counts, (2, 1, 1, 1));
        assert_eq!(learned.first_reason, Some(Reason::Class));
    }

    #[test]
    fn numbers_among_texts_are_remembered_by_their_likeliest_unit() {
        let text = Cell::Text(b"2024-01-02 03:04:05");
        let numbers = |cells: &[Cell<'_>]| {
            let learned = learner(Type::Timestamptz(6), Affinity::Numeric, cells).learned();
            learned.numbers.map(|form| form.to_string())
        };
        assert_eq!(numbers(&[text, text, Cell::Integer(1_700_000_000_123)]), Some("epoch-ms".into()));
        assert_eq!(numbers(&[text, Cell::Integer(1_700_000_000), Cell::Integer(1_700_000_001)]), None);
        assert_eq!(numbers(&[text]), None);
    }

    #[test]
    fn an_infinity_crosses_under_every_form_of_texts_and_speaks_for_none() {
        let text = |text: &'static str| Cell::Text(text.as_bytes());
        let (dense, number) = (text("20240102030405"), Cell::Integer(1_700_000_000));
        for (cells, expected) in [
            (&[text("infinity"), text("infinity"), dense][..], ("YmdHMS[.f6]", 3, 0, 2)),
            (&[text("-infinity")], ("Y-m-dTH:M:S.f3Z", 1, 0, 1)),
            (&[number, number, text("infinity")], ("epoch-s", 2, 1, 1)),
        ] {
            let mut learner = learner(Type::Timestamptz(6), Affinity::Numeric, cells);
            learner.take_habit("Y-m-dTH:M:S.f3Z".parse().unwrap());
            let learned = learner.learned();
            let form = learned.codec.form;
            let found = (form.to_string(), learned.exact, learned.elsewhere, learned.endless);
            assert_eq!(found, (expected.0.to_owned(), expected.1, expected.2, expected.3));
            assert_eq!((learned.kept, learned.lost), (0, 0));
            // What is counted is what crosses, so that nothing is learned anew for the same form.
            assert_eq!(learner.votes_for(form), learned.exact);
        }
    }

    #[test]
    fn a_fraction_that_is_always_there_is_told_from_one_that_is_left_out() {
        let text = |text: &'static str| Cell::Text(text.as_bytes());
        let texts = ["2024-01-02 03:04:05.0", "2024-01-02 03:04:05.25", "2024-01-02 03:04:05.000017"];
        let left_out = ["2024-01-02 03:04:05", "2024-01-02 03:04:05.25", "2024-01-02 03:04:05.000017"];
        let one_digit = ["2024-01-02 03:04:05.0", "2024-01-02 03:04:05.5", "2024-01-02 03:04:05.0"];
        for (texts, form) in
            [(texts, "Y-m-d H:M:S.f"), (left_out, "Y-m-d H:M:S[.f]"), (one_digit, "Y-m-d H:M:S.f")]
        {
            let learned = learner(Type::Timestamp(6), Affinity::Numeric, &texts.map(text)).learned();
            assert_eq!((learned.codec.form.to_string().as_str(), learned.exact), (form, 3));
        }
    }

    #[test]
    fn times_too_fine_for_the_column_say_how_its_times_are_spelt() {
        let text = |text: &'static str| Cell::Text(text.as_bytes());
        let rust = [text("2024-01-02T03:04:05.123456789+00:00"), text("2024-01-02T03:04:06.100000123+00:00")];
        let go = [text("2024-01-02 03:04:05.1234567-07:00")];
        let clocked = [
            text("2024-01-02 03:04:05.123456789 +0200 EET m=+0.000000123"),
            text("2024-01-02 03:04:05.5 +0200 EET m=+245.850218253"),
        ];
        let exact = [rust[0], rust[1], text("2024-01-02 03:04:05.5")];
        for (cells, form, exact) in [
            (&rust[..], "Y-m-dTH:M:S[.f6]+00:00", 0),
            (&go, "Y-m-d H:M:S[.f6]-07:00", 0),
            (&clocked, "Y-m-d H:M:S[.f] +0200 EET", 0),
            (&exact, "Y-m-d H:M:S[.f1]", 1),
        ] {
            let mut one = learner(Type::Timestamptz(6), Affinity::Text, cells);
            one.take_habit("Y-m-d H:M:S.f3".parse().unwrap());
            let mut apart = Learner::new(Type::Timestamptz(6), Hints::default());
            cells
                .iter()
                .for_each(|cell| apart.merge(learner(Type::Timestamptz(6), Affinity::Text, &[*cell])));
            for learned in [one.learned(), apart.learned()] {
                let found = (learned.codec.form.to_string(), learned.exact, learned.kept);
                assert_eq!(found, (form.to_owned(), exact, cells.len() as u64 - exact));
            }
        }
    }

    #[test]
    fn a_column_of_fewer_digits_is_spelt_as_its_texts_are() {
        let texts = ["2024-01-02T03:04:05.123456Z", "2024-01-02T03:04:05.250001Z"];
        for (digits, form) in [(3, "Y-m-dTH:M:S.f3Z"), (0, "Y-m-dTH:M:S[.f6]Z")] {
            let cells = texts.map(|text| Cell::Text(text.as_bytes()));
            let learned = learner(Type::Timestamp(digits), Affinity::Text, &cells).learned();
            assert_eq!((learned.codec.form.to_string().as_str(), learned.kept), (form, 2));
        }
    }

    #[test]
    fn the_operator_is_not_outvoted() {
        let form = Some("words-yn".parse().unwrap());
        let mut learner = Learner::new(Type::Bool, Hints { form, ..Hints::default() });
        learner.observe(Cell::Integer(1));
        learner.observe(Cell::Text(b"y"));
        let learned = learner.learned();
        assert_eq!((Some(learned.codec.form), learned.exact, learned.kept), (form, 1, 1));
    }

    #[test]
    fn parts_of_a_table_merge_in_any_order() {
        let parts: [&[Cell<'_>]; 3] = [
            &[Cell::Text(b"T")],
            &[Cell::Text(b"t"), Cell::Integer(5)],
            &[Cell::Text(b"true"), Cell::Text(b"F")],
        ];
        let merged = |order: [usize; 3]| {
            let mut whole = Learner::new(Type::Bool, Hints::default());
            order.into_iter().for_each(|part| whole.merge(learner(Type::Bool, Affinity::Blob, parts[part])));
            whole.learned()
        };
        assert_eq!(merged([0, 1, 2]), merged([2, 1, 0]));
        assert_eq!(merged([1, 0, 2]).exact, 2);
    }
}
