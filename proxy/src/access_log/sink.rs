//! Where access log lines go.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
    time::Duration,
};

use crate::config::access_log::AccessLogSink;

/// Lines that may wait for the writer. Beyond it lines are dropped, never traffic; at 300 bytes a
/// line this bounds the queue to about 2 MiB.
const QUEUE: usize = 8192;
/// Lines are written out at least this often, as Envoy does.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// The open sinks of a worker.
#[derive(Default)]
pub(crate) struct AccessLogFiles(RefCell<HashMap<AccessLogSink, Option<SyncSender<String>>>>);

// === impl AccessLogFiles ===

impl AccessLogFiles {
    /// Hands a line to the sink's writer.
    pub(crate) fn write(&self, sink: &AccessLogSink, line: String) {
        let mut sinks = self.0.borrow_mut();
        if !sinks.contains_key(sink) {
            sinks.insert(sink.clone(), start(sink));
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
fn start(sink: &AccessLogSink) -> Option<SyncSender<String>> {
    let output: io::Result<Box<dyn Write + Send>> = match sink {
        AccessLogSink::Stdout => Ok(Box::new(io::stdout())),
        AccessLogSink::Stderr => Ok(Box::new(io::stderr())),
        AccessLogSink::File(path) => {
            let file: io::Result<File> = OpenOptions::new().create(true).append(true).open(path);
            file.map(|file| Box::new(file) as Box<dyn Write + Send>)
        }
    };
    let (sender, receiver) = sync_channel(QUEUE);
    let started = output.and_then(|output| {
        let writer = thread::Builder::new().name("access-log".to_owned());
        writer.spawn(move || drain(&receiver, BufWriter::with_capacity(64 * 1024, output)))
    });
    match started {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(?sink, %error, "access log cannot be written; traffic goes on without");
            None
        }
    }
}

fn drain(lines: &Receiver<String>, mut output: BufWriter<Box<dyn Write + Send>>) {
    use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
    let mut pending = false;
    loop {
        // Without pending lines there is nothing to wake up for.
        let line = match pending {
            true => lines.recv_timeout(FLUSH_INTERVAL),
            false => lines.recv().map_err(|_| Disconnected),
        };
        match line {
            // A full disk loses lines and nothing else.
            Ok(line) => pending = output.write_all(line.as_bytes()).is_ok(),
            Err(Timeout) => {
                let _ = output.flush();
                pending = false;
            }
            Err(Disconnected) => {
                let _ = output.flush();
                return;
            }
        }
    }
}
