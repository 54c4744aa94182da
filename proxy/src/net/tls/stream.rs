//! A connection whose handshake is done.
//!
//! Ends are Envoy's: a close_notify ends one way, and so does the end of the socket without one. Our
//! own end is a close_notify, too; FIN follows when the connection is dropped.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustls::{
    ConnectionTrafficSecrets, ProtocolVersion, client::ClientConnectionData,
    kernel::KernelConnection, server::ServerConnectionData,
};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use super::{
    output::Output,
    record::{
        ALERT, APPLICATION_DATA, HANDSHAKE, MAX_PLAINTEXT, OVERHEAD, Protection, Record,
        RecordError, Sink,
    },
};
use crate::buffer::Buffer;

/// Bytes that are sealed before they are written: several records a system call.
const WRITE: usize = 8 * MAX_PLAINTEXT;
/// Records without application data that may follow each other.
const MAX_EMPTY: u8 = 32;
/// Largest message after the handshake: a NewSessionTicket is the largest there is.
const MAX_MESSAGE: usize = 64 * 1024;

/// `HandshakeType`
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// `AlertDescription`
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
/// `AlertLevel`
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// A connection whose handshake is done.
pub(crate) struct TlsStream {
    socket: TcpStream,
    keys: Keys,
    kernel: Kernel,
    /// Records that were read and not opened.
    incoming: Buffer,
    /// What was opened before anybody asked for it.
    plaintext: Buffer,
    output: Output,
    /// Bytes that were sealed, and whose writer has not been told that they left.
    accepted: usize,
    /// A part of a message of the handshake protocol.
    message: Vec<u8>,
    /// Records without application data since there was one with it.
    empty: u8,
    received: End,
    sent: End,
}

/// What protects both directions.
pub(super) struct Keys {
    pub(super) sealing: Protection,
    pub(super) opening: Protection,
}

/// What makes new keys, and keeps tickets.
pub(super) enum Kernel {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// How far one direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Ended,
    /// The peers do not understand each other any more.
    Failed,
}

// === impl TlsStream ===

impl TlsStream {
    pub(super) fn new(
        socket: TcpStream,
        keys: Keys,
        kernel: Kernel,
        (incoming, plaintext, output): (Buffer, Buffer, Output),
        has_ended: bool,
    ) -> Self {
        Self {
            socket,
            keys,
            kernel,
            incoming,
            plaintext,
            output,
            accepted: 0,
            message: Vec::new(),
            empty: 0,
            received: match has_ended {
                true => End::Ended,
                false => End::Open,
            },
            sent: End::Open,
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Nothing more is said: what closes the connection is a reset.
    pub(crate) fn abort(&mut self) {
        self.sent = End::Failed;
    }

    /// Reads what there is. 0 is the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut impl Sink,
    ) -> Poll<io::Result<usize>> {
        if !self.plaintext.is_empty() {
            let bytes = self.plaintext.len();
            into.grow(bytes).copy_from_slice(self.plaintext.filled());
            self.plaintext.consume(bytes);
            self.plaintext.release();
            return Poll::Ready(Ok(bytes));
        }
        loop {
            if !self.output.is_empty() {
                // What is left of a write or of an answer must not wait for the next write.
                let _ = self.output.poll_flush(cx, &self.socket)?;
            }
            if !self.incoming.is_empty() {
                into.expect(self.incoming.len());
            }
            let opened = self.open(into)?;
            if opened > 0 || self.received == End::Ended {
                return Poll::Ready(Ok(opened));
            }
            let room = self.incoming.room();
            let read = poll_read_buf(Pin::new(&mut self.socket), cx, room);
            if read.is_pending() {
                self.incoming.release();
            }
            if ready!(read)? == 0 {
                self.received = End::Ended;
            }
        }
    }

    /// Writes once. Ready when what was taken has left for the kernel; until then the caller comes
    /// back with the same bytes, as with any socket.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: [&[u8]; 2],
    ) -> Poll<io::Result<usize>> {
        let total = parts[0].len() + parts[1].len();
        if self.sent != End::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.accepted == 0 {
            self.accepted = self.seal_parts(parts)?;
        }
        ready!(self.output.poll_flush(cx, &self.socket))?;
        Poll::Ready(Ok(std::mem::take(&mut self.accepted).min(total)))
    }

    /// Says that nothing more will be written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.sent == End::Open {
            self.sent = End::Ended;
            self.seal(ALERT, &[WARNING, CLOSE_NOTIFY])?;
        }
        self.output.poll_flush(cx, &self.socket)
    }

    /// Ready when there is something to read, be it the end.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.plaintext.is_empty() {
            let mut opened = std::mem::take(&mut self.plaintext);
            let read = self.poll_read(cx, &mut opened);
            opened.release();
            self.plaintext = opened;
            ready!(read)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Opens the records that are there. Returns how much application data they had.
    fn open(&mut self, into: &mut impl Sink) -> io::Result<usize> {
        let before = into.filled();
        while self.received == End::Open {
            match self.open_first(into) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => self.fail(error),
            }
        }
        match into.filled() - before {
            0 if self.received == End::Failed => Err(io::ErrorKind::InvalidData.into()),
            opened => Ok(opened),
        }
    }

    /// Opens the first record. False if it is not there as a whole.
    fn open_first(&mut self, into: &mut impl Sink) -> Result<bool, RecordError> {
        let Some(record) = Record::first(self.incoming.filled())? else {
            return Ok(false);
        };
        let (length, before) = (record.len(), into.filled());
        let kind = self.keys.opening.open(&record, into)?;
        self.incoming.consume(length);
        if kind == APPLICATION_DATA && into.filled() > before {
            self.empty = 0;
            return Ok(true);
        }
        self.empty += 1;
        if self.empty > MAX_EMPTY {
            return Err(RecordError::Unexpected);
        }
        let carried = into.tail(before);
        match (kind, carried) {
            (APPLICATION_DATA, _) => {}
            (ALERT, &[level, description]) => self.alerted(level, description),
            (HANDSHAKE, [_, ..]) if self.message.len() <= MAX_MESSAGE => {
                self.message.extend_from_slice(carried);
                self.take_messages()?;
            }
            _ => return Err(RecordError::Unexpected),
        }
        into.cut_to(before);
        Ok(true)
    }

    fn alerted(&mut self, level: u8, description: u8) {
        let is_tls13 = self.keys.opening.is_tls13();
        match description {
            CLOSE_NOTIFY => self.received = End::Ended,
            USER_CANCELED => {}
            _ if level == WARNING && !is_tls13 => {}
            _ => (self.received, self.sent) = (End::Failed, End::Failed),
        }
    }

    /// Takes the messages of the handshake protocol that are there as a whole.
    fn take_messages(&mut self) -> Result<(), RecordError> {
        let mut messages = std::mem::take(&mut self.message);
        let mut rest = messages.as_slice();
        while let Some((&[kind, a, b, c], behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > MAX_MESSAGE {
                return Err(RecordError::Overflow);
            }
            let Some((body, behind)) = behind.split_at_checked(length) else {
                break;
            };
            rest = behind;
            self.take_message(kind, body, rest.is_empty())?;
        }
        let taken = messages.len() - rest.len();
        messages.drain(..taken);
        if !messages.is_empty() {
            self.message = messages;
        }
        Ok(())
    }

    /// `is_last`: nothing stands behind it in its record, as must be where keys change.
    fn take_message(&mut self, kind: u8, body: &[u8], is_last: bool) -> Result<(), RecordError> {
        let is_tls13 = self.keys.opening.is_tls13();
        match (kind, &mut self.kernel, body) {
            (NEW_SESSION_TICKET, Kernel::Client(kernel), _) if is_tls13 => kernel
                .handle_new_session_ticket(body)
                .map_err(|_| RecordError::Unexpected),
            (KEY_UPDATE, kernel, &[wants_answer @ 0..=1]) if is_tls13 && is_last => {
                let secrets = match kernel {
                    Kernel::Server(kernel) => kernel.update_rx_secret(),
                    Kernel::Client(kernel) => kernel.update_rx_secret(),
                };
                self.keys.opening = next(secrets)?;
                // One answer is enough for all that were asked for while it could not leave.
                match wants_answer == 1 && self.output.is_empty() {
                    true => self.update_sealing(),
                    false => Ok(()),
                }
            }
            _ => Err(RecordError::Unexpected),
        }
    }

    /// Goes on with new keys, and says so (RFC 8446 section 4.6.3).
    fn update_sealing(&mut self) -> Result<(), RecordError> {
        self.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0])?;
        let secrets = match &mut self.kernel {
            Kernel::Server(kernel) => kernel.update_tx_secret(),
            Kernel::Client(kernel) => kernel.update_tx_secret(),
        };
        self.keys.sealing = next(secrets)?;
        Ok(())
    }

    /// Seals the beginning of two parts. Returns how much of it.
    fn seal_parts(&mut self, [first, second]: [&[u8]; 2]) -> Result<usize, RecordError> {
        if self.keys.sealing.is_worn() {
            self.update_sealing()?;
        }
        let (mut taken, mut rest) = (0, if first.is_empty() { second } else { first });
        if !first.is_empty() && !second.is_empty() && first.len() < MAX_PLAINTEXT {
            // A head travels with what follows it.
            let (with, behind) = second.split_at(second.len().min(MAX_PLAINTEXT - first.len()));
            let mut joined = Buffer::default();
            joined.room().extend_from_slice(first);
            joined.room().extend_from_slice(with);
            self.seal(APPLICATION_DATA, joined.filled())?;
            (taken, rest) = (joined.len(), behind);
        }
        for piece in rest[..rest.len().min(WRITE)].chunks(MAX_PLAINTEXT) {
            self.seal(APPLICATION_DATA, piece)?;
            taken += piece.len();
        }
        Ok(taken)
    }

    fn seal(&mut self, kind: u8, plain: &[u8]) -> Result<(), RecordError> {
        let room = self.output.room(plain.len() + OVERHEAD);
        let sealed = self.keys.sealing.seal(kind, plain, room)?;
        self.output.fill(sealed);
        Ok(())
    }

    /// Tells the peer, as far as that goes at once, that the two do not understand each other.
    fn fail(&mut self, error: RecordError) {
        self.received = End::Failed;
        if std::mem::replace(&mut self.sent, End::Failed) == End::Open
            && self.seal(ALERT, &[FATAL, error.alert()]).is_ok()
        {
            self.output.try_flush(&self.socket);
        }
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        // A panic may have left anything behind.
        if self.sent == End::Open
            && !std::thread::panicking()
            && self.seal(ALERT, &[WARNING, CLOSE_NOTIFY]).is_ok()
        {
            self.output.try_flush(&self.socket);
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// What protects a direction from now on.
fn next(
    secrets: Result<(u64, ConnectionTrafficSecrets), rustls::Error>,
) -> Result<Protection, RecordError> {
    let protection = |secrets| Protection::new(ProtocolVersion::TLSv1_3, secrets);
    let next = secrets.ok().and_then(protection);
    next.ok_or(RecordError::Unexpected)
}

// === impl RecordError ===

impl From<RecordError> for io::Error {
    fn from(_: RecordError) -> Self {
        Self::from(io::ErrorKind::InvalidData)
    }
}
