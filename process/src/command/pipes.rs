//! Talking to a child over its three pipes at once, until a deadline.

use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    process::{Child, ChildStdin, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// What a pipe takes without making the writer wait, once it says that it is writable (`PIPE_BUF` of
/// pipe(7)).
const PART: usize = 4096;
/// Between looks at a child that has closed its pipes and is about to end.
const PAUSE: Duration = Duration::from_millis(1);

/// How the child ended, or nothing where it was killed at the deadline, and both streams.
pub(super) type Ended = (Option<ExitStatus>, Vec<u8>, Vec<u8>);

/// A stream that is read until it ends.
struct Reading<R> {
    stream: Option<R>,
    bytes: Vec<u8>,
}

/// Feeds `input` to the child and reads what it says, whichever it is ready for: a child that writes
/// before it has read all would wait for us as we for it.
pub(super) fn run(mut child: Child, mut input: &[u8], limit: Duration) -> io::Result<Ended> {
    let deadline = Instant::now() + limit;
    let mut stdin = child.stdin.take();
    let mut stdout = Reading::of(child.stdout.take());
    let mut stderr = Reading::of(child.stderr.take());
    loop {
        if input.is_empty() {
            // The end of its input, which many wait for.
            stdin = None;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let [writable, out, err] =
            wait([fd(&stdin), fd(&stdout.stream), fd(&stderr.stream)], left)?;
        if writable {
            input = write(&mut stdin, input);
        }
        if out {
            stdout.read()?;
        }
        if err {
            stderr.read()?;
        }
        if stdout.stream.is_none() && stderr.stream.is_none() {
            break;
        }
        if left.is_zero() {
            break;
        }
    }
    // What it did not read it does not want.
    drop(stdin);
    let status = end(&mut child, deadline)?;
    Ok((status, stdout.bytes, stderr.bytes))
}

/// Waits for the end, and brings it about at the deadline.
fn end(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(PAUSE);
    }
}

fn fd(stream: &Option<impl AsFd>) -> Option<BorrowedFd<'_>> {
    stream.as_ref().map(AsFd::as_fd)
}

/// Waits until one of these is ready: the first to be written to, the others to be read.
fn wait(ends: [Option<BorrowedFd<'_>>; 3], left: Duration) -> io::Result<[bool; 3]> {
    let wanted = [PollFlags::POLLOUT, PollFlags::POLLIN, PollFlags::POLLIN];
    let polled = ends.iter().zip(wanted);
    let mut polled: Vec<_> = polled
        .filter_map(|(end, wanted)| Some(PollFd::new((*end)?, wanted)))
        .collect();
    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, left) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = polled.iter().map(|end| end.any().unwrap_or(false));
    Ok(ends.map(|end| end.is_some() && ready.next().unwrap_or(false)))
}

/// Writes a part, and gives the rest.
fn write<'a>(stdin: &mut Option<ChildStdin>, input: &'a [u8]) -> &'a [u8] {
    let part = &input[..PART.min(input.len())];
    match stdin.as_mut().map(|stdin| stdin.write(part)) {
        Some(Ok(written)) => &input[written..],
        Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => input,
        // A program that ends before it has read everything says why in its status.
        Some(Err(_)) | None => &[],
    }
}

// === impl Reading ===

impl<R: Read> Reading<R> {
    fn of(stream: Option<R>) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    /// Reads what is there.
    fn read(&mut self) -> io::Result<()> {
        let mut part = [0; 16 * PART];
        match self.stream.as_mut().map(|stream| stream.read(&mut part)) {
            Some(Ok(0)) | None => self.stream = None,
            Some(Ok(read)) => self.bytes.extend_from_slice(&part[..read]),
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Some(Err(error)) => return Err(error),
        }
        Ok(())
    }
}
