//! What is seen of an import while it runs: a bar on a terminal, else a line now and then.

use crate::output;
use domain_records::Position;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(5);
const BAR: &str = "{bar:30} {msg}";

pub struct Display {
    bar: Option<ProgressBar>,
    /// The bytes of the file.
    size: u64,
    /// Where this run began. What an earlier run has done says nothing of the speed of this one.
    begin: Position,
    began: Instant,
    said: Instant,
    /// Lines of data in this run.
    lines: u64,
}

impl Display {
    pub fn new(size: u64, begin: Position) -> Self {
        let now = Instant::now();
        let bar = stderr().is_terminal().then(|| bar(size, begin));
        Display { bar, size, begin, began: now, said: now, lines: 0 }
    }

    /// So many more lines of data are done; that is the offset in the file.
    pub fn advance(&mut self, lines: u64, offset: Position) {
        self.lines += lines;
        let time = self.began.elapsed();
        let share = share(self.begin.bytes, offset.bytes, self.size, time);
        let text = format!("{} lines, {:.0}/s{share}", self.lines, rate(self.lines, time));
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.set_position(offset.bytes);
            }
            None if self.said.elapsed() >= EVERY => {
                self.said = Instant::now();
                output::complain(text);
            }
            None => (),
        }
    }

    /// A line on standard error, beside the bar.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::complain(text)),
            None => output::complain(text),
        }
    }
}

/// The bar leaves nothing behind.
impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// So many in a second.
pub fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(0.001)
}

fn bar(size: u64, begin: Position) -> ProgressBar {
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    bar.with_position(begin.bytes).with_message("0 lines")
}

/// How much of the file is done, and how long the rest takes at the speed of this run.
fn share(begin: u64, done: u64, size: u64, time: Duration) -> String {
    let percent = done * 100 / size.max(1);
    let rest = size.saturating_sub(done) as f64 / rate(done - begin, time).max(1.0);
    format!(", {percent} %, {rest:.0} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        ProgressStyle::with_template(BAR).unwrap();
    }

    #[test]
    fn the_rest_takes_as_long_as_this_run_did_for_its_part() {
        let time = Duration::from_secs(10);
        assert_eq!(share(0, 2_000, 10_000, time), ", 20 %, 40 s left");
        assert_eq!(share(4_000, 6_000, 10_000, time), ", 60 %, 20 s left");
        assert_eq!(share(4_000, 10_000, 10_000, time), ", 100 %, 0 s left");
        assert_eq!(share(0, 0, 0, Duration::ZERO), ", 0 %, 0 s left");
    }
}
