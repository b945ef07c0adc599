//! Progress on the terminal: bars with rates and time left; plain lines, now and then, where there is no terminal.

use super::output::complain;
use super::print::shown;
use crate::flow::progress::{Event, Watch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines appear at most this often where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

pub struct Progress {
    bar: ProgressBar,
    state: Mutex<State>,
    surveyed_rows: AtomicU64,
    plain: bool,
    started: Instant,
}

#[derive(Debug, PartialEq, Eq)]
struct State {
    /// None before the first.
    stage: Option<Stage>,
    last_line: Instant,
    /// Rows, or steps.
    done: u64,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Survey,
    Load,
    Index,
    Validate,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Stage::Survey => "survey",
            Stage::Load => "load",
            Stage::Index => "index",
            Stage::Validate => "validate",
        }
    }

    /// How far it has come within this time, as a line says it.
    fn reached(self, (done, surveyed): (u64, u64), took: Duration) -> String {
        let word = self.word();
        let per_second = done / took.as_secs().max(1);
        match self {
            Stage::Survey => format!("{word}: {done} rows, {per_second} rows/s"),
            Stage::Load | Stage::Validate => {
                format!("{word}: {done} of {surveyed} rows, {per_second} rows/s")
            }
            Stage::Index => format!("{word}: {done} made"),
        }
    }
}

impl Progress {
    pub fn new() -> Progress {
        let plain = !std::io::stderr().is_terminal();
        let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
        let now = Instant::now();
        Progress {
            bar: ProgressBar::with_draw_target(None, target),
            state: Mutex::new(State { stage: None, last_line: now, done: 0, since: now }),
            surveyed_rows: AtomicU64::new(0),
            plain,
            started: now,
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn advance(&self, stage: Stage, more: u64, what: &str) {
        let what = shown(what);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stage != Some(stage) {
            let now = Instant::now();
            *state = State { stage: Some(stage), last_line: now, done: 0, since: now };
            self.begin(stage);
        }
        state.done += more;
        self.bar.set_position(state.done);
        self.bar.set_message(what.clone());
        if self.plain && state.last_line.elapsed() >= LINE_EVERY {
            state.last_line = Instant::now();
            let surveyed = self.surveyed_rows.load(Ordering::Relaxed);
            let reached = stage.reached((state.done, surveyed), state.since.elapsed());
            complain(&format!("{reached}, {what}, {} s\n", self.started.elapsed().as_secs()));
        }
    }

    fn begin(&self, stage: Stage) {
        let total = self.surveyed_rows.load(Ordering::Relaxed);
        self.bar.reset();
        let counted = matches!(stage, Stage::Load | Stage::Validate);
        let template = if counted && total > 0 {
            self.bar.set_length(total);
            "{prefix:9} {bar:30} {human_pos}/{human_len} rows  {rate}  eta {eta}  {wide_msg}"
        } else {
            self.bar.unset_length();
            "{prefix:9} {spinner} {human_pos}  {elapsed}  {wide_msg}"
        };
        let rate = |state: &ProgressState, out: &mut dyn Write| {
            // A bar that cannot be written is no reason to end a copy.
            let _shown = write!(out, "{:.0} rows/s", state.per_sec());
        };
        let style = ProgressStyle::with_template(template).expect("the template is well formed");
        self.bar.set_style(style.with_key("rate", rate));
        self.bar.set_prefix(stage.word());
    }
}

impl Watch for Progress {
    fn see(&self, event: Event<'_>) {
        match event {
            Event::Surveyed { table, rows } => {
                self.surveyed_rows.fetch_add(rows, Ordering::Relaxed);
                self.advance(Stage::Survey, rows, table);
            }
            Event::Loaded { table, rows, bytes: _ } => self.advance(Stage::Load, rows, table),
            Event::Stepped { what } => self.advance(Stage::Index, 1, what),
            Event::Compared { table, rows } => self.advance(Stage::Validate, rows, table),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_as_rows_and_steps_as_steps() {
        let took = Duration::from_secs(5);
        for (stage, says) in [
            (Stage::Survey, "survey: 100 rows, 20 rows/s"),
            (Stage::Load, "load: 100 of 900 rows, 20 rows/s"),
            (Stage::Index, "index: 100 made"),
            (Stage::Validate, "validate: 100 of 900 rows, 20 rows/s"),
        ] {
            assert_eq!(stage.reached((100, 900), took), says);
        }
    }
}
