//! The one place that prints: answers to standard output, as text or as one JSON object, and
//! failures where they belong.
//!
//! Every JSON object has `schema`, `command` and `ok`; where `ok` is false it has `error` with
//! `class`, `exit_code` and `message`. Rows of a listing are written as they come, since a snapshot
//! may have more entries than fit into memory; what ends the object is written last, so it stays
//! valid whatever happens on the way.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::logging::may_style;
use super::progress::Progress;
use super::table::{self, BOLD, Look};
use crate::plain;

/// Counts changes of the JSON objects that a reader would have to know of.
pub(super) const SCHEMA: u32 = 1;

/// How far the JSON object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is written.
    Fresh,
    /// An array is open; whether it has rows.
    Rows(bool),
    /// The object is complete.
    Answered,
}

/// Where answers go.
#[derive(Debug)]
pub(super) struct Output {
    command: String,
    is_json: bool,
    is_quiet: bool,
    state: State,
    stdout: BufWriter<Stdout>,
    look: Look,
    progress: Progress,
}

/// Members of a JSON object.
pub(super) type Fields = Map<String, Value>;

/// The members of `value`, which is written as an object.
pub(super) fn fields(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}

impl Output {
    /// Answers of `command`.
    pub(super) fn new(command: &str, is_json: bool, is_quiet: bool) -> Self {
        let stdout = io::stdout();
        let look = Look { is_terminal: stdout.is_terminal(), is_styled: may_style(&stdout) };
        Self {
            command: command.to_owned(),
            is_json,
            is_quiet,
            state: State::Fresh,
            stdout: BufWriter::new(stdout),
            look,
            progress: Progress::new(!is_quiet && !is_json),
        }
    }

    /// Whether answers are JSON.
    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    /// What a person watches meanwhile.
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Draws a table for this output.
    pub(super) fn table(&self, headings: &[&str], rows: Vec<Vec<String>>) -> String {
        table::draw(self.look, headings, rows)
    }

    /// Tells what was done. `failure` is what it lacks nevertheless. With `--quiet` a person hears of
    /// nothing that went well.
    pub(super) fn summary(
        &mut self,
        text: &str,
        fields: Fields,
        failure: Option<Failure>,
    ) -> Result<(), Failure> {
        let text = if self.is_quiet { "" } else { text };
        match self.answer(text, fields, failure) {
            // What was done is done, whether anyone reads of it or not.
            Err(failure) if failure.is_silent() => Ok(()),
            other => other,
        }
    }

    /// Answers what was asked. `failure` is what the answer lacks.
    pub(super) fn answer(
        &mut self,
        text: &str,
        fields: Fields,
        failure: Option<Failure>,
    ) -> Result<(), Failure> {
        if self.is_json {
            self.begin_object()?;
            self.end_object(fields, failure.as_ref())?;
        } else {
            self.write_text(text)?;
        }
        self.flush()?;
        failure.map_or(Ok(()), Err)
    }

    /// Begins an answer of many rows: in JSON, an array called `name` after `fields`.
    pub(super) fn begin_rows(&mut self, fields: Fields, name: &str) -> Result<(), Failure> {
        if !self.is_json {
            return Ok(());
        }
        self.begin_object()?;
        self.members(fields)?;
        self.write(format!(",{}:[", json!(name)).as_bytes())?;
        self.state = State::Rows(false);
        Ok(())
    }

    /// One row.
    pub(super) fn row(
        &mut self,
        line: impl FnOnce() -> String,
        fields: impl FnOnce() -> Fields,
    ) -> Result<(), Failure> {
        if !self.is_json {
            let mut line = line();
            line.push('\n');
            return self.write_text(&line);
        }
        let comma = if self.state == State::Rows(true) { ",\n" } else { "\n" };
        self.state = State::Rows(true);
        self.write(comma.as_bytes())?;
        self.write_json(&Value::Object(fields()))
    }

    /// Ends an answer of many rows.
    pub(super) fn end_rows(
        &mut self,
        fields: Fields,
        failure: Option<Failure>,
    ) -> Result<(), Failure> {
        if self.is_json {
            self.write(b"\n]")?;
            self.end_object(fields, failure.as_ref())?;
        }
        self.flush()?;
        failure.map_or(Ok(()), Err)
    }

    /// Raw bytes, as `cat` and `completions` have them.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(|error| Failure::output(&error))
    }

    /// Text for a person. Escapes what a terminal would obey.
    fn write_text(&mut self, text: &str) -> Result<(), Failure> {
        for line in text.split_inclusive('\n') {
            match line.strip_prefix(BOLD) {
                None => self.write(plain::escaped_lines(line).as_bytes())?,
                Some(heading) => {
                    let heading = plain::escaped(heading.trim_end_matches('\n'));
                    self.write(format!("\u{1b}[1m{heading}\u{1b}[0m\n").as_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// A value for programs, in which a terminal obeys nothing either.
    fn write_json(&mut self, value: &Value) -> Result<(), Failure> {
        self.write(plain::escaped_json(&value.to_string()).as_bytes())
    }

    /// Brings everything out.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(|error| Failure::output(&error))
    }

    /// Tells of a failure: in JSON in the object, else on standard error.
    pub(super) fn fail(&mut self, failure: &Failure) {
        // Whoever does not read the answer won't read this either.
        drop(self.try_fail(failure));
    }

    fn try_fail(&mut self, failure: &Failure) -> Result<(), Failure> {
        if failure.is_silent() {
            return Ok(());
        }
        if !self.is_json {
            self.flush()?;
            if failure.is_told() {
                return Ok(());
            }
            let line = format!("{}: {}", word(failure), failure.message());
            let told = self.progress.write_above(&line);
            return told.map_err(|error| Failure::output(&error));
        }
        match self.state {
            State::Answered => return Ok(()),
            State::Rows(_) => self.write(b"\n]")?,
            State::Fresh => self.begin_object()?,
        }
        self.end_object(Fields::new(), Some(failure))?;
        self.flush()
    }

    /// Tells a person at once how things go on.
    pub(super) fn say(&mut self, line: &str) -> Result<(), Failure> {
        if self.is_quiet || self.is_json {
            return Ok(());
        }
        self.write_text(&format!("{line}\n"))?;
        self.flush()
    }

    /// Tells a person at a terminal something beside the answer.
    pub(super) fn note(&mut self, text: &str) {
        if self.is_quiet || self.is_json || !io::stderr().is_terminal() {
            return;
        }
        // A note that nobody can read is no failure.
        for line in text.lines() {
            drop(self.progress.write_above(line));
        }
    }

    fn begin_object(&mut self) -> Result<(), Failure> {
        let begin = format!("{{\"schema\":{SCHEMA},\"command\":{}", json!(self.command));
        self.write(begin.as_bytes())
    }

    fn members(&mut self, fields: Fields) -> Result<(), Failure> {
        for (key, value) in fields {
            self.write(format!(",{}:", json!(key)).as_bytes())?;
            self.write_json(&value)?;
        }
        Ok(())
    }

    fn end_object(&mut self, mut fields: Fields, failure: Option<&Failure>) -> Result<(), Failure> {
        fields.insert("ok".to_owned(), json!(failure.is_none()));
        if let Some(failure) = failure {
            let error = json!({
                "class": failure.class(),
                "exit_code": failure.exit().code(),
                "message": failure.message(),
            });
            fields.insert("error".to_owned(), error);
        }
        self.members(fields)?;
        self.state = State::Answered;
        self.write(b"}\n")
    }
}

/// What is done in part is no error.
fn word(failure: &Failure) -> &'static str {
    if failure.exit() == super::failure::Exit::Partial { "warning" } else { "error" }
}
