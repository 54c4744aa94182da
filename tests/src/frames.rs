//! Frames of HTTP/2 as an attacker makes them: nothing is kept to, nothing is read unless asked for.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// What a connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113 section 6).
pub const DATA: u8 = 0;
/// See [`DATA`].
pub const HEADERS: u8 = 1;
/// See [`DATA`].
pub const PRIORITY: u8 = 2;
/// See [`DATA`].
pub const RST_STREAM: u8 = 3;
/// See [`DATA`].
pub const SETTINGS: u8 = 4;
/// See [`DATA`].
pub const PING: u8 = 6;
/// See [`DATA`].
pub const GOAWAY: u8 = 7;
/// See [`DATA`].
pub const WINDOW_UPDATE: u8 = 8;
/// See [`DATA`].
pub const CONTINUATION: u8 = 9;

/// END_STREAM
pub const END_STREAM: u8 = 1;
/// END_HEADERS
pub const END_HEADERS: u8 = 4;
/// Both: a whole request without a body.
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

/// No frame that a server sends first is longer.
const LONGEST: usize = 1 << 24;

/// `GET /` of the host `h` in HPACK, none of it in the table.
pub const GET: &[u8] = b"\x82\x86\x84\x01\x01h";
/// The same with POST.
pub const POST: &[u8] = b"\x83\x86\x84\x01\x01h";

/// A frame that came: kind, flags, stream, payload.
pub type Received = (u8, u8, u32, Vec<u8>);

/// A frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut out = length.to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// What a client says before its first request.
#[must_use]
pub fn hello() -> Vec<u8> {
    [
        PREFACE,
        &frame(SETTINGS, 0, 0, b""),
        &frame(SETTINGS, 1, 0, b""),
    ]
    .concat()
}

/// Heads that say `times` times the field of `size` bytes that the first of them puts into the table.
#[must_use]
pub fn expanding(streams: u32, size: usize, times: usize) -> Vec<u8> {
    let mut first = GET.to_vec();
    first.extend(b"\x40\x01a\x7f");
    // An integer with a prefix of seven bits (RFC 7541 section 5.1).
    let mut rest = size.saturating_sub(127);
    while rest >= 128 {
        first.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    first.push(rest as u8);
    first.resize(first.len() + size, b'v');
    let again = [GET, &vec![0xbe; times]].concat();
    let mut out = frame(HEADERS, WHOLE, 1, &first);
    for stream in 1..streams {
        out.extend(frame(HEADERS, WHOLE, 2 * stream + 1, &again));
    }
    out
}

/// A connection that reads as long as something comes, and waits no longer than that for more.
///
/// # Errors
/// Nobody listens.
pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The next frame. `None` at the end.
///
/// # Errors
/// The connection is lost, or nothing comes.
pub fn read(stream: &mut impl Read) -> io::Result<Option<Received>> {
    let mut head = [0; 9];
    match stream.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length.min(LONGEST)];
    stream.read_exact(&mut payload)?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Ok(Some((head[3], head[4], id & (u32::MAX >> 1), payload)))
}
