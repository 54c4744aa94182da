//! The static table (RFC 7541 appendix A) and the tables that grow.

use std::{collections::VecDeque, sync::LazyLock};

use bytes::Bytes;

use super::field::{Field, Name};

/// Fields of the static table; indices of the other begin behind.
pub(super) const STATIC: usize = 61;

/// The static table; the first has index 1.
#[rustfmt::skip]
pub(super) const STATIC_FIELDS: [(&str, &str); STATIC] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];

static PARSED: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let fields = STATIC_FIELDS.iter();
    let parsed = fields.map(|(name, value)| {
        let value = Bytes::from_static(value.as_bytes());
        Field::new(Name::new(name.as_bytes()), value)
    });
    parsed.collect()
});

/// A dynamic table: the newest field first, the oldest leaves when there is no room.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: VecDeque<(T, usize)>,
    size: usize,
    most: usize,
    /// Fields that have ever entered.
    entered: u32,
}

/// The field of the static table at `index`.
pub(super) fn static_field(index: usize) -> Option<&'static Field> {
    PARSED.get(index.checked_sub(1)?)
}

// === impl Table ===

impl<T> Table<T> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            most,
            entered: 0,
        }
    }

    /// By place: 0 is the newest.
    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.entries.get(place).map(|(entry, _)| entry)
    }

    /// Where the field that entered as number `entered` is, if it is still there.
    pub(super) fn place(&self, entered: u32) -> Option<usize> {
        let age = self.entered.wrapping_sub(entered) as usize;
        (1..=self.entries.len()).contains(&age).then(|| age - 1)
    }

    /// The number of the next that enters.
    pub(super) fn next(&self) -> u32 {
        self.entered
    }

    /// Whether a field of this size can be in it at all.
    pub(super) fn fits(&self, size: usize) -> bool {
        size <= self.most
    }

    /// Lets a field in. One that is too large empties the table (RFC 7541 section 4.4).
    pub(super) fn insert(&mut self, entry: T, size: usize) {
        self.evict(self.most.saturating_sub(size));
        if self.fits(size) {
            self.entries.push_front((entry, size));
            self.size += size;
            self.entered = self.entered.wrapping_add(1);
        }
    }

    /// Its size at most.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.evict(most);
    }

    fn evict(&mut self, most: usize) {
        while self.size > most
            && let Some((_, size)) = self.entries.pop_back()
        {
            self.size -= size;
        }
    }
}
