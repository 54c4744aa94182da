//! What went wrong.

use std::{fmt, io};

/// An error code (RFC 9113 section 7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(u32);

/// Why a stream or a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The stream was reset.
    #[error("the stream was reset by {1}: {0:?}")]
    Reset(Reason, Side),
    /// The connection was given up; or it is to end, and the peer has not looked at the stream.
    #[error("the connection was given up by {1}: {0:?}")]
    GoAway(Reason, Side),
    /// The connection was lost.
    #[error("the connection was lost: {0}")]
    Io(io::ErrorKind),
    /// The peer allows no more streams at present.
    #[error("the peer allows no more streams at present")]
    NoRoom,
    /// The message cannot be sent, or not now.
    #[error("the message cannot be sent")]
    Unsendable,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This side.
    Ours,
    /// The peer.
    Theirs,
}

macro_rules! reasons {
    ($($name:ident = $code:literal $doc:literal)*) => {
        impl Reason {
            $(
                #[doc = $doc]
                pub const $name: Self = Self($code);
            )*
        }

        impl fmt::Debug for Reason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self(code) => write!(f, "{code:#x}"),
                }
            }
        }
    };
}

reasons! {
    NO_ERROR = 0 "Nothing is wrong."
    PROTOCOL_ERROR = 1 "The peer broke a rule that has no code of its own."
    INTERNAL_ERROR = 2 "Our own failure."
    FLOW_CONTROL_ERROR = 3 "More was sent than the window allows."
    SETTINGS_TIMEOUT = 4 "Settings were not acknowledged in time."
    STREAM_CLOSED = 5 "A frame came for a stream that was over."
    FRAME_SIZE_ERROR = 6 "A frame has a size that it may not have."
    REFUSED_STREAM = 7 "The request was not looked at."
    CANCEL = 8 "Nobody wants the stream any more."
    COMPRESSION_ERROR = 9 "A field section cannot be read."
    CONNECT_ERROR = 10 "A tunnel was closed abnormally."
    ENHANCE_YOUR_CALM = 11 "The peer causes too much work."
    INADEQUATE_SECURITY = 12 "The transport is not secure enough."
    HTTP_1_1_REQUIRED = 13 "HTTP/1.1 is to be used."
}

// === impl Reason ===

impl From<u32> for Reason {
    fn from(code: u32) -> Self {
        Self(code)
    }
}

impl From<Reason> for u32 {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

// === impl Error ===

impl Error {
    /// The code, if it has one.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Reset(reason, _) | Self::GoAway(reason, _) => Some(*reason),
            Self::Io(_) | Self::NoRoom | Self::Unsendable => None,
        }
    }

    /// Whether the connection was lost.
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Io(_))
    }

    /// Whether the peer said so.
    pub fn is_remote(&self) -> bool {
        matches!(
            self,
            Self::Reset(_, Side::Theirs) | Self::GoAway(_, Side::Theirs)
        )
    }

    /// Whether the stream was reset.
    pub fn is_reset(&self) -> bool {
        matches!(self, Self::Reset(..))
    }

    /// Whether the connection was given up.
    pub fn is_go_away(&self) -> bool {
        matches!(self, Self::GoAway(..))
    }
}

// === impl Side ===

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "this side",
            Self::Theirs => "the peer",
        })
    }
}
