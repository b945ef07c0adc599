//! By which unit a bare number counts a time: its size tells, where by one unit it falls into our times and by others far out of them.

use super::Zone;
use super::calendar::{DAY, date_of};
use super::form::{Form, Hints, Unit};
use super::formset::FormSet;
use super::moment::{Kind, Target};
use crate::model::cell::Cell;
use crate::model::types::Type;

/// What counts .NET's ticks to some time of ours counts nanoseconds to 1990 or so, and hardly anybody counts those.
const UNITS: [Unit; 7] =
    [Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Ticks, Unit::Nanos, Unit::RealSeconds, Unit::Julian];

/// The forms under which a number would cross exactly if it had fewer digits, where it crosses so under none.
pub fn forms_but_for_digits(ty: &Type, cell: Cell<'_>, hints: &Hints) -> FormSet {
    let target = Target::of(ty);
    match (cell, hints.unit) {
        (Cell::Integer(_) | Cell::Real(_), Some(unit)) => {
            target.epochs_but_for_digits(&[unit], cell, hints.zone)
        }
        (Cell::Integer(_) | Cell::Real(_), None) => {
            target.epochs_but_for_digits(target.units(), cell, hints.zone)
        }
        (Cell::Null | Cell::Text(_) | Cell::Blob(_), _) => FormSet::EMPTY,
    }
}

impl Target {
    /// The likelier first.
    pub(super) fn units(self) -> &'static [Unit] {
        if self.kind == Kind::Time { &Unit::ALL } else { &UNITS }
    }

    pub(super) fn epochs(self, units: &[Unit], cell: Cell<'_>, zone: Zone) -> FormSet {
        // A number that falls into our times by some units speaks for those; any other number speaks for none. One that a unit would have
        // to cut falls into them too: as nanoseconds it is of our times, and as microseconds it is exact and of the year 55840.
        let telling = self.units_of_our_times(units, cell, zone).next().is_some();
        let chosen = |unit: &Unit| {
            let value = self.store_number(*unit, zone, cell).ok()?.value;
            let is_exact = self.number(*unit, zone, value)? == cell;
            (is_exact && (!telling || self.is_of_our_times(value))).then_some(*unit)
        };
        units.iter().filter_map(chosen).map(Form::Epoch).collect()
    }

    /// The units by which the number would be of our times, if it had fewer digits.
    fn epochs_but_for_digits(self, units: &[Unit], cell: Cell<'_>, zone: Zone) -> FormSet {
        let is_none = self.kind == Kind::Time || self.epochs(units, cell, zone) != FormSet::EMPTY;
        self.units_of_our_times(units, cell, zone).filter(|_| !is_none).map(Form::Epoch).collect()
    }

    fn units_of_our_times(self, units: &[Unit], cell: Cell<'_>, zone: Zone) -> impl Iterator<Item = Unit> {
        units.iter().copied().filter(move |unit| {
            let stored = self.store_number(*unit, zone, cell);
            stored.is_ok_and(|stored| self.is_of_our_times(stored.value))
        })
    }

    /// From 1971 to 2199; a time of day tells nothing.
    fn is_of_our_times(self, value: i64) -> bool {
        let day = match self.kind {
            Kind::Date => value,
            Kind::Timestamp | Kind::Timestamptz => value.div_euclid(DAY),
            Kind::Time => return true,
        };
        (1971..2200).contains(&date_of(day).0)
    }
}
