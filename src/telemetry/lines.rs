//! Lines of the log on their way out. Whoever logs sees them written, unless nobody reads them: then they wait, a bounded number of them,
//! and the work goes on.
//!
//! A pipe that is full takes the thread that writes to it, for ever. It must not be one that keeps an application's writers waiting.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Where lines are given to. Its thread ends with the process.
pub struct Lines<W> {
    shared: Arc<Shared>,
    out: Mutex<Option<W>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something is to be written, or has been.
    moved: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Vec<u8>>,
    given: u64,
    written: u64,
    /// Nobody reads: lines are not waited for until one of them is written.
    stalled: bool,
    lost: u64,
}

/// Some of a bad hour's lines, and few megabytes.
const WAITING_MAX: usize = 4096;
const WRITTEN_WITHIN: Duration = Duration::from_millis(20);

impl<W: Write + Send + 'static> Lines<W> {
    pub fn to(out: W) -> Lines<W> {
        Lines { shared: Arc::default(), out: Mutex::new(Some(out)) }
    }

    pub fn give(&self, line: &[u8]) {
        self.begin();
        let mut queue = self.shared.queue();
        if queue.waiting.len() >= WAITING_MAX {
            queue.lost += 1;
            return;
        }
        queue.waiting.push_back(line.to_vec());
        queue.given += 1;
        let mine = queue.given;
        self.shared.moved.notify_all();
        if queue.stalled {
            return;
        }
        let unwritten = |queue: &mut Queue| queue.written < mine;
        let waited = self.shared.moved.wait_timeout_while(queue, WRITTEN_WITHIN, unwritten);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.stalled = queue.written < mine;
    }

    /// The thread that writes begins with the first line.
    fn begin(&self) {
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut out) = out else { return };
        let shared = Arc::clone(&self.shared);
        let begun: io::Result<JoinHandle<()>> =
            thread::Builder::new().name("log".to_owned()).spawn(move || {
                loop {
                    shared.write_next(&mut out);
                }
            });
        begun.expect("the system gives us a thread");
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_next(&self, out: &mut impl Write) {
        let empty = |queue: &mut Queue| queue.waiting.is_empty();
        let waited = self.moved.wait_while(self.queue(), empty);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        let (line, lost) = (queue.waiting.pop_front(), std::mem::take(&mut queue.lost));
        drop(queue);
        // Where this cannot be written, there is nobody left to be told.
        let _unheard = out.write_all(&line.unwrap_or_default());
        if lost > 0 {
            let told = format!("liteferry: {lost} lines of the log were lost, for nobody took them\n");
            let _unheard = out.write_all(told.as_bytes());
        }
        let mut queue = self.queue();
        queue.written += 1;
        queue.stalled = false;
        self.moved.notify_all();
    }
}

/// What a formatter writes one line to.
pub struct Line<W>(pub Arc<Lines<W>>);

impl<W: Write + Send + 'static> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.give(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    /// Takes a piece for each word that it is sent, and shows what it took.
    struct Reader {
        may: Receiver<()>,
        took: Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.may.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.took.send(String::from_utf8(piece.to_vec()).unwrap()).unwrap();
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_written_before_whoever_gives_it_goes_on() {
        let (allow, may) = channel();
        let (took, taken) = channel();
        let lines = Lines::to(Reader { may, took });
        for line in ["a", "b", "c"] {
            allow.send(()).unwrap();
            lines.give(line.as_bytes());
            assert_eq!(taken.recv().unwrap(), line);
        }
    }

    #[test]
    fn lines_that_nobody_reads_wait_and_are_lost_in_the_end_and_hold_nobody_up() {
        let (allow, may) = channel();
        let (took, taken) = channel();
        let lines = Lines::to(Reader { may, took });
        let (began, given) = (Instant::now(), WAITING_MAX + 100);
        (0..given).for_each(|number| lines.give(number.to_string().as_bytes()));
        assert!(began.elapsed() < WRITTEN_WITHIN * 200, "each line was waited for");
        (0..given + 10).for_each(|_| allow.send(()).unwrap());
        let (mut told, mut lost): (Vec<usize>, usize) = (Vec::new(), 0);
        while told.last().is_none_or(|last| *last < usize::MAX) {
            let line = taken.recv().unwrap();
            match line.strip_prefix("liteferry: ").and_then(|told| told.split(' ').next()) {
                Some(lines) => lost += lines.parse::<usize>().unwrap(),
                None => told.push(line.parse().unwrap()),
            }
            if told.len() == 10 {
                lines.give(usize::MAX.to_string().as_bytes());
            }
        }
        told.pop();
        assert!(told.is_sorted() && told[0] == 0, "{told:?}");
        assert_eq!((lost > 0, told.len() + lost), (true, given));
    }
}
