//! What a peer may do without giving us anything to do. Frames that open windows, say priorities or are
//! empty are in proportion to what goes on, by Envoy's rules and in its numbers; of the others each kind
//! has a budget, which useful work and time fill up again.

use std::time::{Duration, Instant};

/// Budgets at the beginning, and at most: beyond what any client does at once.
const MOST: u32 = 1000;
/// What each budget gets back, besides for work.
const EACH: Duration = Duration::from_millis(10);

/// How much of what brings nothing is taken, as `Http2ProtocolOptions` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodLimits {
    /// Frames in a row that carry nothing where they should.
    pub max_consecutive_inbound_frames_with_empty_payload: u32,
    /// PRIORITY frames for each stream that was opened, and one more.
    pub max_inbound_priority_frames_per_stream: u32,
    /// WINDOW_UPDATE frames for each DATA frame that was sent, halved.
    pub max_inbound_window_update_frames_per_data_frame_sent: u32,
    /// RST_STREAM frames of a client at once.
    pub stream_reset_burst: u64,
    /// And in each second after.
    pub stream_reset_rate: u64,
}

/// What a connection was given up for. Named as Envoy's statistics are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// PING, SETTINGS or frames that nobody knows, whose answers are work for nothing.
    OutboundControl,
    /// Frames without content.
    EmptyFrames,
    /// PRIORITY
    PriorityFrames,
    /// WINDOW_UPDATE
    WindowUpdateFrames,
    /// Streams that the peer reset, or for which it is to blame.
    Resets,
}

/// What costs us something and brings nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// A stream that the peer is to blame for.
    Blame,
    /// PING
    Ping,
    /// SETTINGS
    Settings,
    /// Frames that nobody knows, or that come for nothing.
    Ignored,
}

const KINDS: usize = 4;

/// What a connection's peer has done, and may do yet.
#[derive(Debug)]
pub(super) struct Floods {
    limits: FloodLimits,
    left: [u32; KINDS],
    filled: Option<Instant>,
    /// Streams that were opened, by either side.
    opened: u64,
    data_sent: u64,
    windows: u64,
    priorities: u64,
    /// Empty frames since one that was not.
    empty: u32,
    /// Streams that the peer may reset, since when whole seconds are counted that give more.
    resets_left: u64,
    resets_filled: Option<Instant>,
    /// What was too much.
    pub(super) was: Option<Flood>,
}

// === impl FloodLimits ===

impl Default for FloodLimits {
    fn default() -> Self {
        Self {
            max_consecutive_inbound_frames_with_empty_payload: 1,
            max_inbound_priority_frames_per_stream: 100,
            max_inbound_window_update_frames_per_data_frame_sent: 10,
            stream_reset_burst: 1000,
            stream_reset_rate: 33,
        }
    }
}

// === impl Floods ===

impl Floods {
    pub(super) fn new(limits: FloodLimits) -> Self {
        Self {
            limits,
            left: [MOST; KINDS],
            filled: None,
            opened: 0,
            data_sent: 0,
            windows: 0,
            priorities: 0,
            empty: 0,
            resets_left: limits.stream_reset_burst,
            resets_filled: None,
            was: None,
        }
    }

    /// Some time has passed.
    pub(super) fn pass(&mut self, now: Instant) {
        let filled = *self.resets_filled.get_or_insert(now);
        let passed = now.saturating_duration_since(filled).as_secs();
        if passed > 0 {
            let more = self.limits.stream_reset_rate.saturating_mul(passed);
            let most = self.limits.stream_reset_burst;
            self.resets_left = self.resets_left.saturating_add(more).min(most);
            self.resets_filled = Some(filled + Duration::from_secs(passed));
        }
        let filled = *self.filled.get_or_insert(now);
        let passed = now.saturating_duration_since(filled);
        if passed >= EACH {
            let steps = passed.as_millis() / EACH.as_millis();
            let steps = u32::try_from(steps).map_or(MOST, |steps| steps.min(MOST));
            self.filled = Some(now);
            self.fill_all(steps);
        }
    }

    /// The peer did something. False if that is too much.
    #[must_use]
    pub(super) fn spend(&mut self, kind: Idle) -> bool {
        let left = &mut self.left[kind as usize];
        let is_left = *left > 0;
        *left = left.saturating_sub(1);
        let flood = match kind {
            Idle::Blame => Flood::Resets,
            Idle::Ping | Idle::Settings | Idle::Ignored => Flood::OutboundControl,
        };
        self.judge(is_left, flood)
    }

    /// The peer reset a stream.
    #[must_use]
    pub(super) fn reset(&mut self) -> bool {
        let is_left = self.resets_left > 0;
        self.resets_left = self.resets_left.saturating_sub(1);
        self.judge(is_left, Flood::Resets)
    }

    /// A frame came that is empty, or is not, and does not end its message.
    #[must_use]
    pub(super) fn content(&mut self, is_empty: bool) -> bool {
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        let most = self
            .limits
            .max_consecutive_inbound_frames_with_empty_payload;
        self.judge(self.empty <= most, Flood::EmptyFrames)
    }

    /// PRIORITY came.
    #[must_use]
    pub(super) fn priority(&mut self) -> bool {
        self.priorities += 1;
        let each = u64::from(self.limits.max_inbound_priority_frames_per_stream);
        let most = each.saturating_mul(1 + self.opened);
        self.judge(self.priorities <= most, Flood::PriorityFrames)
    }

    /// WINDOW_UPDATE came.
    #[must_use]
    pub(super) fn window(&mut self) -> bool {
        self.windows += 1;
        let each = self
            .limits
            .max_inbound_window_update_frames_per_data_frame_sent;
        let of_data = u64::from(each).saturating_mul(self.data_sent);
        let most = of_data.saturating_add(self.opened).saturating_mul(2);
        self.judge(
            self.windows <= most.saturating_add(5),
            Flood::WindowUpdateFrames,
        )
    }

    /// Either side has opened a stream.
    pub(super) fn open(&mut self) {
        self.opened += 1;
    }

    /// Something useful happened.
    pub(super) fn work(&mut self) {
        self.fill_all(1);
    }

    /// DATA was sent: the peer may well open windows for it, and measure how long it took.
    pub(super) fn sent(&mut self) {
        self.data_sent += 1;
        let left = &mut self.left[Idle::Ping as usize];
        *left = (*left + 1).min(MOST);
    }

    fn fill_all(&mut self, by: u32) {
        for left in &mut self.left {
            *left = (*left + by).min(MOST);
        }
    }

    fn judge(&mut self, is_fine: bool, flood: Flood) -> bool {
        if !is_fine {
            self.was.get_or_insert(flood);
        }
        is_fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floods() -> Floods {
        Floods::new(FloodLimits::default())
    }

    #[test]
    fn a_budget_ends_and_is_filled_by_work_and_time() {
        let mut floods = floods();
        let now = Instant::now();
        floods.pass(now);
        for _ in 0..MOST {
            assert!(floods.spend(Idle::Ping));
        }
        assert!(!floods.spend(Idle::Ping));
        assert_eq!(floods.was, Some(Flood::OutboundControl));
        assert!(floods.spend(Idle::Settings), "each has its own");
        floods.work();
        assert!(floods.spend(Idle::Ping) && !floods.spend(Idle::Ping));
        floods.pass(now + EACH * 3);
        assert_eq!(
            [(); 4].map(|()| floods.spend(Idle::Ping)),
            [true, true, true, false]
        );
    }

    #[test]
    fn windows_are_opened_for_what_was_sent() {
        let mut floods = floods();
        floods.open();
        (0..10).for_each(|_| floods.sent());
        for _ in 0..5 + 2 * (1 + 10 * 10) {
            assert!(floods.window());
        }
        assert!(!floods.window());
        assert_eq!(floods.was, Some(Flood::WindowUpdateFrames));
    }

    #[test]
    fn resets_come_in_a_burst_and_then_by_the_second() {
        let mut floods = floods();
        let now = Instant::now();
        floods.pass(now);
        assert!((0..1000).all(|_| floods.reset()) && !floods.reset());
        floods.pass(now + Duration::from_millis(999));
        assert!(!floods.reset());
        floods.pass(now + Duration::from_millis(2500));
        assert!((0..66).all(|_| floods.reset()) && !floods.reset());
        floods.pass(now + Duration::from_secs(3));
        assert!((0..33).all(|_| floods.reset()) && !floods.reset());
    }

    #[test]
    fn priorities_are_said_for_streams() {
        let mut floods = floods();
        floods.open();
        assert!((0..200).all(|_| floods.priority()) && !floods.priority());
        assert_eq!(floods.was, Some(Flood::PriorityFrames));
    }

    #[test]
    fn one_empty_frame_in_a_row_is_taken() {
        let mut floods = floods();
        assert!(floods.content(true) && floods.content(false) && floods.content(true));
        assert!(!floods.content(true));
        assert_eq!(floods.was, Some(Flood::EmptyFrames));
    }
}
