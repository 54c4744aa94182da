//! `envoy.filters.http.stateful_session`

/// `envoy.extensions.filters.http.stateful_session.v3.StatefulSession`
#[derive(Debug)]
pub struct StatefulSession {
    /// Where requests say, and responses tell, which endpoint serves the session; none: nowhere.
    pub state: Option<SessionState>,
    /// That endpoint or none.
    pub is_strict: bool,
    /// What is answered where a strict session's endpoint is gone.
    pub missing_status: u16,
    /// Part of the names of its statistics; empty: it has none.
    pub stat_prefix: String,
}

/// Where the endpoint of a session stands.
#[derive(Debug)]
pub enum SessionState {
    /// In a cookie.
    Cookie(SessionCookie),
    /// In the header of this name, lower case.
    Header(String),
}

/// `envoy.type.http.v3.Cookie`
#[derive(Debug)]
pub struct SessionCookie {
    /// Its name.
    pub name: String,
    /// `Max-Age`, in seconds; 0: until the client ends.
    pub ttl: u64,
    /// `Path`, and what paths have sessions; empty: all.
    pub path: String,
    /// Others, by name; a value may be empty.
    pub attributes: Vec<(String, String)>,
}
