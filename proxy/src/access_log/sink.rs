//! Where access log lines go.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{config::access_log::AccessLogSink, singletons::Singletons};

/// Lines that may wait for the writer. Beyond it lines are dropped, never traffic; at 300 bytes a
/// line this bounds the queue to about 2 MiB.
const QUEUE: usize = 8192;
/// Lines are written out at least this often, as Envoy does.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// The open sinks of a worker.
#[derive(Default)]
pub(crate) struct AccessLogFiles {
    sinks: RefCell<HashMap<AccessLogSink, Option<SyncSender<String>>>>,
    reopenings: Arc<Reopenings>,
}

/// How often files were to be opened anew, since somebody had moved them away. One a process.
#[derive(Debug, Default)]
pub(crate) struct Reopenings(AtomicU64);

/// What lines are written to.
struct Output {
    sink: AccessLogSink,
    writer: BufWriter<Box<dyn Write + Send>>,
    reopenings: Arc<Reopenings>,
    /// As many as were asked for when the file was opened.
    opened_at: u64,
}

// === impl Reopenings ===

impl Reopenings {
    /// What all workers of a process share.
    pub(crate) fn of(singletons: &Singletons) -> Arc<Self> {
        singletons.get("access_log.reopenings", Self::default)
    }

    /// Has every file opened anew before its next line is written.
    pub(crate) fn ask(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl AccessLogFiles ===

impl AccessLogFiles {
    /// Without any yet.
    pub(crate) fn new(reopenings: Arc<Reopenings>) -> Self {
        Self {
            sinks: RefCell::default(),
            reopenings,
        }
    }

    /// Hands a line to the sink's writer.
    pub(crate) fn write(&self, sink: &AccessLogSink, line: String) {
        let mut sinks = self.sinks.borrow_mut();
        if !sinks.contains_key(sink) {
            sinks.insert(sink.clone(), start(sink, &self.reopenings));
        }
        if let Some(Some(sender)) = sinks.get(sink)
            && let Err(TrySendError::Disconnected(_)) = sender.try_send(line)
        {
            // Its writer has panicked: the next line starts another.
            sinks.remove(sink);
        }
    }
}

/// Starts the sink's writer. None, with an error in the log, if the file cannot be opened.
fn start(sink: &AccessLogSink, reopenings: &Arc<Reopenings>) -> Option<SyncSender<String>> {
    let (sender, receiver) = sync_channel(QUEUE);
    let started = Output::open(sink, reopenings).and_then(|output| {
        let writer = thread::Builder::new().name("access-log".to_owned());
        writer.spawn(move || drain(&receiver, output))
    });
    match started {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(?sink, %error, "access log cannot be written; traffic goes on without");
            None
        }
    }
}

fn drain(lines: &Receiver<String>, mut output: Output) {
    use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
    // When lines that wait are written out. Without any there is nothing to wake up for.
    let mut due: Option<Instant> = None;
    loop {
        let line = match due {
            Some(due) => lines.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => lines.recv().map_err(|_| Disconnected),
        };
        match line {
            // A full disk loses lines and nothing else.
            Ok(line) => {
                if output.write(&line).is_ok() {
                    due.get_or_insert_with(|| Instant::now() + FLUSH_INTERVAL);
                }
            }
            Err(Timeout) => {}
            Err(Disconnected) => {
                let _ = output.writer.flush();
                return;
            }
        }
        if due.is_some_and(|due| due <= Instant::now()) {
            let _ = output.writer.flush();
            due = None;
        }
    }
}

fn open(sink: &AccessLogSink) -> io::Result<BufWriter<Box<dyn Write + Send>>> {
    let output: Box<dyn Write + Send> = match sink {
        AccessLogSink::Stdout => Box::new(io::stdout()),
        AccessLogSink::Stderr => Box::new(io::stderr()),
        AccessLogSink::File(path) => {
            Box::new(OpenOptions::new().create(true).append(true).open(path)?)
        }
    };
    Ok(BufWriter::with_capacity(64 * 1024, output))
}

// === impl Output ===

impl Output {
    fn open(sink: &AccessLogSink, reopenings: &Arc<Reopenings>) -> io::Result<Self> {
        let opened_at = reopenings.count();
        Ok(Self {
            sink: sink.clone(),
            writer: open(sink)?,
            reopenings: Arc::clone(reopenings),
            opened_at,
        })
    }

    /// Writes a line, to the file that has the name now where it is to be opened anew. One that cannot be
    /// opened leaves lines where they went before.
    fn write(&mut self, line: &str) -> io::Result<()> {
        let asked = self.reopenings.count();
        if asked != self.opened_at {
            self.opened_at = asked;
            let flushed = self.writer.flush();
            match open(&self.sink) {
                Ok(writer) => self.writer = writer,
                Err(error) => {
                    tracing::error!(sink = ?self.sink, %error, "access log cannot be opened anew");
                }
            }
            flushed?;
        }
        self.writer.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_are_written_out_while_others_keep_coming() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let sink = AccessLogSink::File(path.clone());
        let output = Output::open(&sink, &Arc::default()).expect("a file");
        let (sender, lines) = sync_channel(QUEUE);
        thread::spawn(move || drain(&lines, output));
        // They never fill a buffer in this time.
        for _ in 0..3000 {
            sender.send("line\n".to_owned()).expect("a writer");
            if fs::metadata(&path).expect("a file").len() > 0 {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nothing is written");
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew_once_that_is_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, moved) = (directory.path().join("log"), directory.path().join("log.1"));
        let reopenings = Arc::default();
        let sink = AccessLogSink::File(path.clone());
        let mut output = Output::open(&sink, &reopenings).expect("a file");
        let mut write = |line: &str| {
            output.write(line).expect("space");
            output.writer.flush().expect("space");
        };
        write("one\n");
        fs::rename(&path, &moved).expect("moved");
        write("two\n");
        reopenings.ask();
        write("three\n");
        let read = |path| fs::read_to_string(path).expect("a file");
        assert_eq!(
            (read(&moved), read(&path)),
            ("one\ntwo\n".into(), "three\n".into())
        );
    }
}
