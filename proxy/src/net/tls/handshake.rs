//! Handshakes: rustls decides, this moves the bytes.

use std::{future::poll_fn, io, pin::Pin};

use rustls::{
    client::{ClientConnectionData, UnbufferedClientConnection},
    kernel::KernelConnection,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, UnbufferedConnectionCommon, UnbufferedStatus},
};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use super::{
    output::Output,
    record::Protection,
    stream::{Kernel, Keys, TlsStream},
};
use crate::buffer::Buffer;

/// Most alerts and the like that are sent about a handshake that has failed.
const LAST_WORDS: usize = 4;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The peer went away.
    #[error("the peer closed the connection")]
    Closed,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peers do not agree.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// A secret that is needed is not there yet.
    #[error("a secret is not there yet")]
    SecretsNotReady,
    /// It took too long.
    #[error("the handshake took too long")]
    Timeout,
}

/// One end of a handshake.
pub(super) trait Side: Sized {
    type Data;

    fn common(&mut self) -> &mut UnbufferedConnectionCommon<Self::Data>;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn into_keys(self) -> Result<(Keys, Kernel), rustls::Error>;
}

/// Where a handshake stands.
enum Step {
    Again,
    NeedsBytes,
    Done,
}

/// What a connection of rustls needs around it.
struct Wire {
    socket: TcpStream,
    incoming: Buffer,
    plaintext: Buffer,
    output: Output,
    has_closed: bool,
}

/// Runs a handshake to its end. `incoming` is what was read before. `look` is called with the
/// connection before its keys are taken out of it.
pub(super) async fn run<S: Side, T>(
    mut side: S,
    socket: TcpStream,
    incoming: Buffer,
    look: impl FnOnce(&UnbufferedConnectionCommon<S::Data>) -> T,
) -> Result<(TlsStream, T), HandshakeError> {
    let mut wire = Wire {
        socket,
        plaintext: incoming.sibling(),
        incoming,
        output: Output::default(),
        has_closed: false,
    };
    if let Err(error) = wire.drive(&mut side).await {
        if matches!(error, HandshakeError::Tls(_)) {
            wire.last_words(&mut side);
        }
        return Err(error);
    }
    let seen = look(side.common());
    let (keys, kernel) = side.into_keys()?;
    let Wire {
        socket,
        incoming,
        plaintext,
        output,
        has_closed,
    } = wire;
    let buffers = (incoming, plaintext, output);
    let stream = TlsStream::new(socket, keys, kernel, buffers, has_closed);
    Ok((stream, seen))
}

// === impl Wire ===

impl Wire {
    async fn drive(&mut self, side: &mut impl Side) -> Result<(), HandshakeError> {
        loop {
            match self.step(side)? {
                Step::Again => {}
                Step::NeedsBytes => {
                    self.flush().await?;
                    self.read().await?;
                }
                Step::Done => return Ok(self.flush().await?),
            }
        }
    }

    fn step(&mut self, side: &mut impl Side) -> Result<Step, rustls::Error> {
        let UnbufferedStatus { discard, state } = side.process(self.incoming.filled_mut());
        let step = state.map(|state| match state {
            ConnectionState::EncodeTlsData(mut data) => {
                encode(&mut self.output, |room| data.encode(room));
                Step::Again
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                Step::Again
            }
            // Came right behind the end of the handshake.
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(Ok(record)) = traffic.next_record() {
                    self.plaintext.room().extend_from_slice(record.payload);
                }
                Step::Again
            }
            ConnectionState::PeerClosed => {
                self.has_closed = true;
                Step::Again
            }
            ConnectionState::WriteTraffic(_) | ConnectionState::Closed => Step::Done,
            // Nobody offers or takes early data, so what is left waits for bytes.
            _ => Step::NeedsBytes,
        });
        self.incoming.consume(discard);
        step
    }

    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.output.poll_flush(cx, &self.socket)).await
    }

    async fn read(&mut self) -> Result<(), HandshakeError> {
        let read = poll_fn(|cx| {
            let read = poll_read_buf(Pin::new(&mut self.socket), cx, self.incoming.room());
            if read.is_pending() {
                self.incoming.release();
            }
            read
        });
        match read.await? {
            0 => Err(HandshakeError::Closed),
            _ => Ok(()),
        }
    }

    /// Tells the peer why the handshake has failed, as far as the socket takes it at once.
    fn last_words(&mut self, side: &mut impl Side) {
        // What is there to be said comes first, so that nothing that was read is looked at again.
        for _ in 0..LAST_WORDS {
            if !side.common().wants_write() || self.step(side).is_err() {
                break;
            }
        }
        self.output.try_flush(&self.socket);
    }
}

/// Puts what `encode` writes behind the output.
fn encode(output: &mut Output, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    /// Most messages of a handshake are shorter.
    const USUAL: usize = 4096;
    let encoded = match encode(output.room(USUAL)) {
        Err(EncodeError::InsufficientSize(error)) => encode(output.room(error.required_size)),
        encoded => encoded,
    };
    if let Ok(bytes) = encoded {
        output.fill(bytes);
    }
}

// === impl Side ===

/// rustls has no trait over both ends.
macro_rules! side {
    ($connection:ty, $data:ty, $kernel:path) => {
        impl Side for $connection {
            type Data = $data;

            fn common(&mut self) -> &mut UnbufferedConnectionCommon<Self::Data> {
                self
            }

            fn process<'c, 'i>(
                &'c mut self,
                incoming: &'i mut [u8],
            ) -> UnbufferedStatus<'c, 'i, Self::Data> {
                self.process_tls_records(incoming)
            }

            fn into_keys(self) -> Result<(Keys, Kernel), rustls::Error> {
                let (secrets, kernel) = self.dangerous_into_kernel_connection()?;
                Ok((keys(secrets, &kernel)?, $kernel(kernel)))
            }
        }
    };
}

side!(
    UnbufferedServerConnection,
    ServerConnectionData,
    Kernel::Server
);
side!(
    UnbufferedClientConnection,
    ClientConnectionData,
    Kernel::Client
);

fn keys<D>(
    secrets: rustls::ExtractedSecrets,
    kernel: &KernelConnection<D>,
) -> Result<Keys, rustls::Error> {
    let version = kernel.protocol_version();
    let unknown = || rustls::Error::General("the cipher suite is not known here".to_owned());
    Ok(Keys {
        sealing: Protection::new(version, secrets.tx).ok_or_else(unknown)?,
        opening: Protection::new(version, secrets.rx).ok_or_else(unknown)?,
    })
}
