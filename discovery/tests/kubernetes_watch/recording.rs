//! Recordings as files.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

/// What a server says about one kind, request by request, and where that leads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recording {
    pub(crate) kind: String,
    pub(crate) exchanges: VecDeque<Exchange>,
    pub(crate) expected: Expected,
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) request: String,
    pub(crate) answer: Vec<Step>,
}

/// A piece of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A line.
    Line(String),
    /// An error instead of an answer.
    Refuse {
        code: u16,
        retry_after: Option<String>,
        body: String,
    },
    Pause(Duration),
    /// A piece of a line, and then nothing.
    Cut(String),
    /// Silence.
    Stay,
}

/// Where it leads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    pub(crate) objects: BTreeSet<String>,
    pub(crate) problems: BTreeSet<String>,
    pub(crate) errors: Vec<String>,
    pub(crate) lists: Option<u64>,
    pub(crate) waited: Duration,
}

impl Recording {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut recording = Self {
            kind: "Service".to_owned(),
            ..Self::default()
        };
        let lines = text.lines().filter(|it| !it.is_empty());
        for line in lines.filter(|it| !it.starts_with('#')) {
            recording.line(line).ok_or_else(|| line.to_owned())?;
        }
        Ok(recording)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        if let Some(kind) = line.strip_prefix("kind ") {
            self.kind = kind.to_owned();
        } else if let Some(request) = line.strip_prefix("> ") {
            self.exchanges.push_back(Exchange {
                request: request.to_owned(),
                answer: Vec::new(),
            });
        } else if let Some(expected) = line.strip_prefix("= ") {
            self.expected.line(expected)?;
        } else {
            let step = step(line)?;
            self.exchanges.back_mut()?.answer.push(step);
        }
        Some(())
    }
}

fn step(line: &str) -> Option<Step> {
    Some(match line.split_once(' ') {
        Some(("!", error)) => {
            let (code, rest) = error.split_once(' ')?;
            let (retry_after, body) = match rest.strip_prefix("retry-after=") {
                Some(rest) => {
                    let (seconds, body) = rest.split_once(' ')?;
                    (Some(seconds.to_owned()), body)
                }
                None => (None, rest),
            };
            Step::Refuse {
                code: code.parse().ok()?,
                retry_after,
                body: body.to_owned(),
            }
        }
        Some(("~", seconds)) => Step::Pause(Duration::from_secs(seconds.parse().ok()?)),
        Some(("^", piece)) => Step::Cut(piece.to_owned()),
        _ if line == "$" => Step::Stay,
        _ => Step::Line(line.to_owned()),
    })
}

impl Expected {
    fn line(&mut self, line: &str) -> Option<()> {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "objects" => self
                .objects
                .extend(rest.split_whitespace().map(str::to_owned)),
            "problem" => {
                self.problems.insert(rest.to_owned());
            }
            "error" => self.errors.push(rest.to_owned()),
            "lists" => self.lists = Some(rest.parse().ok()?),
            "waited" => self.waited = Duration::from_secs(rest.parse().ok()?),
            _ => return None,
        }
        Some(())
    }
}
