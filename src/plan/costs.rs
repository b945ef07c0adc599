//! Costs: what each type would leave to the ledger, from a survey's counts alone.
//!
//! Every count is an upper bound: a cell may turn out to cross after all, never the other way round for what was seen.

use super::survey::ColumnSurvey;
use crate::canon::{Codec, Form, Zone};
use crate::model::cell::Class;
use crate::model::types::Type;

/// A way for a column to cross, with what it would cost.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub codec: Codec,
    /// Cells that will stand in the ledger.
    pub misfits: u64,
    /// Of those, the ones in whose place the target holds NULL.
    pub lost: u64,
}

pub(super) struct Costs<'a> {
    pub survey: &'a ColumnSurvey,
    pub zone: Zone,
}

impl Costs<'_> {
    fn count(&self, classes: &[Class]) -> u64 {
        classes.iter().map(|class| self.survey.count(*class)).sum()
    }

    fn others(&self) -> u64 {
        self.count(&[Class::Text, Class::Blob])
    }

    fn candidate(&self, ty: Type, form: Form, misfits: u64, lost: u64) -> Candidate {
        Candidate { codec: Codec::new(ty, form, self.zone), misfits, lost }
    }

    /// An integer type wide enough for every INTEGER seen.
    pub fn integer(&self, ty: Type) -> Candidate {
        let misfits = self.count(&[Class::Real]) + self.others();
        self.candidate(ty, Form::Native, misfits, misfits)
    }

    /// REAL alone.
    pub fn real(&self) -> Candidate {
        let misfits = self.count(&[Class::Integer]) + self.others();
        self.candidate(Type::Float8, Form::Native, misfits, self.others())
    }

    /// INTEGER and REAL together, told apart by whether the number is integral.
    pub fn float(&self) -> Candidate {
        let misfits = self.ambiguous() + self.survey.integers_beyond_double + self.others();
        self.candidate(Type::Float8, Form::Number, misfits, self.others())
    }

    pub fn numeric(&self) -> Candidate {
        self.candidate(Type::Numeric(None), Form::Native, self.ambiguous() + self.others(), self.others())
    }

    /// REALs that would come back as INTEGER.
    fn ambiguous(&self) -> u64 {
        self.survey.reals_integral + self.survey.reals_negative_zero
    }

    pub fn text(&self, form: Form) -> Candidate {
        let lost = self.count(&[Class::Blob]) + self.survey.text_refused;
        let numbers = match form {
            Form::Affinity => 0,
            _ => self.count(&[Class::Integer, Class::Real]),
        };
        self.candidate(Type::Text, form, lost + numbers, lost)
    }

    pub fn bytea(&self) -> Candidate {
        let misfits = self.count(&[Class::Integer, Class::Real, Class::Text]);
        self.candidate(Type::Bytea, Form::Native, misfits, 0)
    }

    /// Bytes that were bound as TEXT, as PHP does.
    pub fn bytea_of_text(&self) -> Candidate {
        let misfits = self.count(&[Class::Integer, Class::Real, Class::Blob]);
        self.candidate(Type::Bytea, Form::OtherClass, misfits, 0)
    }

    pub fn wide(&self) -> Vec<Candidate> {
        let held = [self.numeric(), self.bytea(), self.text(Form::Affinity)];
        held.into_iter().chain(self.bytes_in_texts()).collect()
    }

    pub fn texts(&self) -> Vec<Candidate> {
        [self.text(Form::Native), self.bytea()].into_iter().chain(self.bytes_in_texts()).collect()
    }

    /// A column whose texts are mostly no text is one of bytes.
    pub fn bytes_in_texts(&self) -> Option<Candidate> {
        let mostly_bytes = self.survey.text_refused * 2 > self.survey.count(Class::Text);
        mostly_bytes.then(|| self.bytea_of_text())
    }
}
