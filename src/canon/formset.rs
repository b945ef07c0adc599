//! A handful of forms, for the learner: those under which one cell crosses exactly, the likeliest first. Never on the heap.

use super::form::Form;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FormSet {
    forms: [Form; FormSet::LENGTH_MAX],
    length: usize,
}

impl FormSet {
    const LENGTH_MAX: usize = 18;
    pub const EMPTY: FormSet = FormSet { forms: [Form::Native; FormSet::LENGTH_MAX], length: 0 };

    pub fn len(&self) -> usize {
        self.length
    }

    fn push(&mut self, form: Form) {
        self.forms[self.length] = form;
        self.length += 1;
    }
}

impl FromIterator<Form> for FormSet {
    fn from_iter<I: IntoIterator<Item = Form>>(forms: I) -> FormSet {
        let mut set = FormSet::EMPTY;
        forms.into_iter().for_each(|form| set.push(form));
        set
    }
}

impl IntoIterator for FormSet {
    type Item = Form;
    type IntoIter = std::iter::Take<std::array::IntoIter<Form, { FormSet::LENGTH_MAX }>>;

    fn into_iter(self) -> Self::IntoIter {
        self.forms.into_iter().take(self.length)
    }
}

impl<const N: usize> From<[Form; N]> for FormSet {
    fn from(forms: [Form; N]) -> FormSet {
        forms.into_iter().collect()
    }
}
