//! What is shown while a run goes on: a line for each answer or a bar, then the summary.

use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::post::Answer;
use super::summary::{Summary, Tally};

/// Up to this many posts a bar would be gone before it is read.
const MAX_WITHOUT_BAR: usize = 20;

/// Up to this many posts each answer has its line; above it only the failed ones.
const MAX_LISTED: usize = 200;

/// Which answers are shown, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Each, as a JSON object.
    Json,
    /// Each, as a line.
    Lines,
    /// Only those that were not 2xx, as a line.
    Failures,
}

impl Detail {
    /// `bar_tells`: whether a bar stands where the lines would.
    fn new(json: bool, planned: usize, bar_tells: bool) -> Self {
        match (json, bar_tells || planned > MAX_LISTED) {
            (true, _) => Self::Json,
            (false, true) => Self::Failures,
            (false, false) => Self::Lines,
        }
    }
}

/// Writes what a run answers while it goes on.
pub(super) struct Report<W> {
    out: W,
    detail: Detail,
    bar: ProgressBar,
    seed: Option<u64>,
    planned: usize,
    tally: Tally,
    started: Instant,
}

impl<W: Write> Report<W> {
    /// A report of this many posts, which begin now.
    pub(super) fn new(out: W, planned: usize, json: bool, seed: Option<u64>) -> Self {
        let bar = if json || planned <= MAX_WITHOUT_BAR {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(planned as u64).with_style(bar_style())
        };
        // A bar hides itself where standard error is no terminal.
        let bar_tells = !bar.is_hidden() && stdout().is_terminal();
        Self {
            out,
            detail: Detail::new(json, planned, bar_tells),
            bar,
            seed,
            planned,
            tally: Tally::default(),
            started: Instant::now(),
        }
    }

    /// Takes in one answer.
    pub(super) fn answered(&mut self, answer: &Answer) -> anyhow::Result<()> {
        self.tally.add(answer);
        match self.detail {
            Detail::Json => writeln!(self.out, "{}", serde_json::to_string(answer)?)?,
            Detail::Failures if answer.is_success() => {}
            Detail::Failures | Detail::Lines => {
                let out = &mut self.out;
                self.bar.suspend(|| writeln!(out, "{}", line(answer)))?;
            }
        }
        if !answer.is_success() {
            self.bar
                .set_message(format!("{} failed", self.tally.failed));
        }
        self.bar.inc(1);
        Ok(())
    }

    /// Writes the summary, and gives the counts. `cut_off` is how many posts were under way when
    /// the run was interrupted, if it was.
    pub(super) fn finish(mut self, cut_off: Option<usize>) -> anyhow::Result<Tally> {
        self.bar.finish_and_clear();
        let summary = Summary {
            posts: self.planned,
            elapsed: self.started.elapsed(),
            seed: self.seed,
            interrupted: cut_off.is_some(),
            unanswered: cut_off.unwrap_or(0),
            tally: &self.tally,
        };
        if self.detail == Detail::Json {
            writeln!(self.out, "{}", json!({ "summary": summary.to_json() }))?;
        } else {
            write!(self.out, "\n{summary}")?;
        }
        self.out.flush()?;
        Ok(self.tally)
    }
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {pos}/{len}  {eta} left  {msg}")
        .expect("the template is well formed")
}

/// One answer as one line: status code, what the body says, milliseconds, file.
fn line(answer: &Answer) -> String {
    let code = answer
        .http_status
        .map_or_else(|| "error".to_owned(), |code| code.to_string());
    let said = match (&answer.error, &answer.status, &answer.reason) {
        (Some(error), _, _) => error.clone(),
        (None, Some(status), Some(reason)) => format!("{status}: {reason}"),
        (None, Some(text), None) | (None, None, Some(text)) => text.clone(),
        (None, None, None) => "-".to_owned(),
    };
    format!(
        "{code:<5}  {said:<30}  {:>8.1} ms  {}",
        as_ms(answer.latency),
        answer.file
    )
}

/// The text without what could drive a terminal: control characters, and those that change the
/// direction of writing or break a line.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !turns_or_breaks_lines(*c))
        .collect()
}

fn turns_or_breaks_lines(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A duration in milliseconds, to the microsecond.
pub(super) fn as_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(http_status: Option<u16>, status: &str) -> Answer {
        Answer {
            file: "story/01.json".into(),
            http_status,
            status: (!status.is_empty()).then(|| status.to_owned()),
            latency: Duration::from_micros(12_345),
            ..Answer::default()
        }
    }

    fn output(planned: usize, json: bool, answers: &[Answer]) -> String {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, planned, json, None);
        // As where there is no terminal, wherever the test runs.
        (report.bar, report.detail) = (ProgressBar::hidden(), Detail::new(json, planned, false));
        for answer in answers {
            report.answered(answer).unwrap();
        }
        report.finish(None).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_answer_has_an_aligned_line() {
        let held = Answer {
            reason: Some("stale_timestamp".into()),
            ..answer(Some(202), "quarantined")
        };
        let refused = Answer {
            error: Some("Connection refused".into()),
            ..answer(None, "")
        };
        let lines = [
            answer(Some(200), "processed"),
            held,
            refused,
            answer(Some(502), ""),
        ]
        .map(|answer| line(&answer));
        assert_eq!(
            lines,
            [
                "200    processed                           12.3 ms  story/01.json",
                "202    quarantined: stale_timestamp        12.3 ms  story/01.json",
                "error  Connection refused                  12.3 ms  story/01.json",
                "502    -                                   12.3 ms  story/01.json",
            ]
        );
    }

    #[test]
    fn a_long_run_lists_only_failures() {
        let answers = [answer(Some(200), "processed"), answer(Some(500), "")];
        assert_eq!(
            output(200, false, &answers)
                .matches("story/01.json")
                .count(),
            2
        );
        assert_eq!(
            output(201, false, &answers)
                .matches("story/01.json")
                .count(),
            1
        );
    }

    #[test]
    fn a_bar_stands_for_the_lines_of_successes() {
        assert_eq!(Detail::new(false, 30, true), Detail::Failures);
        assert_eq!(Detail::new(true, 30, true), Detail::Json);
    }

    #[test]
    fn json_is_one_object_a_line_with_the_summary_last() {
        let text = output(
            300,
            true,
            &[answer(Some(200), "processed"), answer(None, "")],
        );
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["status"], "processed");
        assert_eq!(lines[1]["httpStatus"], serde_json::Value::Null);
        assert_eq!(lines[2]["summary"]["failed"], 1);
    }
}
