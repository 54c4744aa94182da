//! What looks at the bytes of a connection before whoever serves it.

use std::{
    fmt, io,
    task::{Context, Poll},
};

/// Looks at what a client sends before the filter that serves the connection sees it. It is asked at
/// each read; a connection that has one is not moved within the kernel.
pub(crate) trait ReadFilter: fmt::Debug {
    /// Bytes have come.
    fn on_data(&mut self) -> Passage;

    /// Ready once a connection whose bytes were refused is to be closed.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What becomes of bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// They go on, and so does all that follows them.
    Open,
    /// They go on; what follows is looked at as well.
    Watched,
    /// They go nowhere, and the connection is closed.
    Refused,
}

/// Those that look at a connection's bytes.
#[derive(Debug, Default)]
pub(super) struct Gate(Option<Box<ReadFilters>>);

#[derive(Debug)]
struct ReadFilters {
    /// In the order of their chain.
    filters: Vec<Box<dyn ReadFilter>>,
    end: EndOfStream,
    /// Index of the one that has refused the connection.
    refused_by: Option<usize>,
}

/// What the end of the client's bytes is to read filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndOfStream {
    /// The last of the bytes, where an answer may follow it.
    Seen,
    /// The end of the connection, which is none of their business.
    Unseen,
}

// === impl Gate ===

impl Gate {
    pub(super) fn new(filters: Vec<Box<dyn ReadFilter>>, end: EndOfStream) -> Self {
        let read_filters = ReadFilters {
            filters,
            end,
            refused_by: None,
        };
        Self((!read_filters.filters.is_empty()).then(|| Box::new(read_filters)))
    }

    /// Nothing is looked at.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Whether so many bytes that were read go on. 0 is the end.
    pub(super) fn lets_pass(&mut self, bytes: usize) -> bool {
        let Some(read_filters) = &mut self.0 else {
            return true;
        };
        if bytes == 0 && read_filters.end == EndOfStream::Unseen {
            return true;
        }
        let passes = read_filters.lets_pass();
        if read_filters.filters.is_empty() {
            self.0 = None;
        }
        passes
    }

    /// Ready where reads go on; fails once a refused connection is to be closed.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let refused_by = self.0.as_mut().and_then(|of| Some((of.refused_by?, of)));
        match refused_by {
            Some((index, of)) => of.filters[index].poll_close(cx).map(|()| Err(refused())),
            None => Poll::Ready(Ok(())),
        }
    }
}

// === impl ReadFilters ===

impl ReadFilters {
    fn lets_pass(&mut self) -> bool {
        let mut index = 0;
        while let Some(filter) = self.filters.get_mut(index) {
            match filter.on_data() {
                Passage::Open => drop(self.filters.remove(index)),
                Passage::Watched => index += 1,
                Passage::Refused => {
                    self.refused_by = Some(index);
                    return false;
                }
            }
        }
        true
    }
}

/// What reads of a refused connection fail with.
fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "refused by a filter")
}

/// Whether a read failed because a filter has refused what was read.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}
