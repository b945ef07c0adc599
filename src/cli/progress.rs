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
    state: Mutex<Stage>,
    surveyed_rows: AtomicU64,
    plain: bool,
    started: Instant,
}

#[derive(Debug, PartialEq, Eq)]
struct Stage {
    name: &'static str,
    last_line: Instant,
    rows: u64,
    since: Instant,
}

impl Progress {
    pub fn new() -> Progress {
        let plain = !std::io::stderr().is_terminal();
        let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
        let now = Instant::now();
        Progress {
            bar: ProgressBar::with_draw_target(None, target),
            state: Mutex::new(Stage { name: "", last_line: now, rows: 0, since: now }),
            surveyed_rows: AtomicU64::new(0),
            plain,
            started: now,
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn advance(&self, name: &'static str, rows: u64, what: &str) {
        let what = shown(what);
        let mut stage = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if stage.name != name {
            *stage = Stage { name, last_line: Instant::now(), rows: 0, since: Instant::now() };
            self.begin(name);
        }
        stage.rows += rows;
        self.bar.set_position(stage.rows);
        self.bar.set_message(what.clone());
        if self.plain && stage.last_line.elapsed() >= LINE_EVERY {
            stage.last_line = Instant::now();
            let seconds = stage.since.elapsed().as_secs().max(1);
            let (total, elapsed) =
                (self.surveyed_rows.load(Ordering::Relaxed), self.started.elapsed().as_secs());
            let (rows, per_second) = (stage.rows, stage.rows / seconds);
            complain(&format!("{name}: {rows} of {total} rows, {per_second} rows/s, {what}, {elapsed} s\n"));
        }
    }

    fn begin(&self, name: &'static str) {
        let total = self.surveyed_rows.load(Ordering::Relaxed);
        self.bar.reset();
        let counted = name == "load" || name == "validate";
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
        self.bar.set_prefix(name);
    }
}

impl Watch for Progress {
    fn see(&self, event: Event<'_>) {
        match event {
            Event::Surveyed { table, rows } => {
                self.surveyed_rows.fetch_add(rows, Ordering::Relaxed);
                self.advance("survey", rows, table);
            }
            Event::Loaded { table, rows, bytes: _ } => self.advance("load", rows, table),
            Event::Stepped { what } => self.advance("index", 1, what),
            Event::Compared { table, rows } => self.advance("validate", rows, table),
        }
    }
}
