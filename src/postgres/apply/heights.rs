//! The numbers that pass on their way into columns which sequences go on after: what was read of such a column holds with what has passed
//! since. Nothing that passes is changed.
//!
//! A row that goes again leaves its number: a sequence may go on after one that nobody has any more.

use crate::link::Portion;
use crate::model::chunk::tuple_cells;
use crate::plan::numbers::{Heights, Numbers, Reached};

#[derive(Debug, Default)]
pub struct Passing(Vec<(Numbers, Reached)>);

impl Passing {
    pub fn begin(watched: Vec<Numbers>) -> Passing {
        Passing(watched.into_iter().map(|numbers| (numbers, Reached::default())).collect())
    }

    pub fn so_far(&self) -> &Heights {
        &self.0
    }

    pub fn note(&mut self, portion: &Portion) {
        for (numbers, reached) in &mut self.0 {
            for changed in portion.iter().filter(|changed| changed.route.target == numbers.table) {
                let mut columns = changed.route.columns.iter().enumerate();
                let Some((at, column)) = columns.find(|(_, column)| column.target == numbers.column) else {
                    continue;
                };
                for row in 0..changed.rows.rows() {
                    if let Some(Some(bytes)) = tuple_cells(changed.rows.row(row)).nth(at) {
                        *reached = reached.and(numbers.written.read(&column.codec.ty, bytes));
                    }
                }
            }
        }
    }
}
