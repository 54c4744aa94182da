//! Memory for bodies, bounded in sum: connections are many, each has many requests, and anybody may send.

use std::sync::Arc;

use axum::{body::Body, http::StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{MAX_BODY_BYTES, SMALL_BYTES};

/// What is given out at a time. Most reviews are of some ten of these.
const BLOCK: usize = 4 * 1024;
/// Of all bodies together, what each holds up to [`SMALL_BYTES`]: thousands of reviews of pods.
const SMALL: usize = 64 * 1024 * 1024;
/// What they hold beyond that: sixteen of the largest. It is apart, so that those leave room to the small.
const LARGE: usize = 16 * MAX_BODY_BYTES;

/// What is left.
#[derive(Debug)]
pub(super) struct Bodies {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// A body, and its share of the memory.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    shares: [Option<OwnedSemaphorePermit>; 2],
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unread {
    /// It is larger than any review.
    #[error("the body is longer than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// All memory for bodies is in use.
    #[error("too many reviews at once; send it again")]
    Full,
    /// It ended before its end.
    #[error("the body was not sent whole")]
    Broken,
}

// === impl Bodies ===

impl Default for Bodies {
    fn default() -> Self {
        Self {
            small: Arc::new(Semaphore::new(SMALL / BLOCK)),
            large: Arc::new(Semaphore::new(LARGE / BLOCK)),
        }
    }
}

impl Bodies {
    /// Reads a body to its end.
    pub(super) async fn read(&self, mut body: Body) -> Result<Held, Unread> {
        let mut held = Held::default();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else {
                continue;
            };
            if held.bytes.len() + data.len() > MAX_BODY_BYTES {
                return Err(Unread::TooLarge);
            }
            self.make_room(&mut held, data.len())?;
            held.bytes.extend_from_slice(&data);
        }
        Ok(held)
    }

    /// Takes what so many more bytes need beyond what is held. What is held is dropped with a body for which
    /// there is no room, so nobody waits for somebody who waits.
    fn make_room(&self, held: &mut Held, more: usize) -> Result<(), Unread> {
        let needed = held.bytes.len() + more;
        let small = needed.min(SMALL_BYTES).div_ceil(BLOCK);
        let large = needed.saturating_sub(SMALL_BYTES).div_ceil(BLOCK);
        let [of_small, of_large] = &mut held.shares;
        grow(of_small, &self.small, small)?;
        grow(of_large, &self.large, large)
    }
}

/// Makes a share one of so many blocks.
fn grow(
    share: &mut Option<OwnedSemaphorePermit>,
    all: &Arc<Semaphore>,
    blocks: usize,
) -> Result<(), Unread> {
    let more = blocks.saturating_sub(share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
    if more == 0 {
        return Ok(());
    }
    let more = u32::try_from(more).map_err(|_| Unread::Full)?;
    let taken = Arc::clone(all).try_acquire_many_owned(more);
    let taken = taken.map_err(|_| Unread::Full)?;
    match share {
        Some(share) => share.merge(taken),
        None => *share = Some(taken),
    }
    Ok(())
}

// === impl Unread ===

impl Unread {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bodies: &Bodies, bytes: usize) -> Result<Held, Unread> {
        bodies.read(Body::from(vec![b'x'; bytes])).await
    }

    #[tokio::test]
    async fn large_bodies_leave_room_to_small_ones_and_give_back_what_they_held() {
        let bodies = Bodies::default();
        let mut held = Vec::new();
        let refused = loop {
            assert!(held.len() < 20, "nobody was refused");
            match read(&bodies, MAX_BODY_BYTES).await {
                Ok(body) => held.push(body),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, Unread::Full);
        assert!(held.len() >= 16, "{}", held.len());
        let small = read(&bodies, SMALL_BYTES).await.expect("room");
        assert_eq!(small.bytes.len(), SMALL_BYTES);
        drop((small, held));
        assert_eq!(bodies.small.available_permits(), SMALL / BLOCK);
        assert_eq!(bodies.large.available_permits(), LARGE / BLOCK);
    }

    #[tokio::test]
    async fn small_bodies_are_bounded_in_sum() {
        let bodies = Bodies::default();
        let mut held = Vec::new();
        for _ in 0..SMALL / SMALL_BYTES {
            held.push(read(&bodies, SMALL_BYTES).await.expect("room"));
        }
        assert_eq!(read(&bodies, 1).await.map(|_| ()), Err(Unread::Full));
        held.pop();
        assert!(read(&bodies, 1).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_longer_than_any_review_is_refused_before_it_is_held() {
        let bodies = Bodies::default();
        let refused = read(&bodies, MAX_BODY_BYTES + 1).await.map(|_| ());
        assert_eq!(refused, Err(Unread::TooLarge));
        assert_eq!(bodies.large.available_permits(), LARGE / BLOCK);
    }
}
