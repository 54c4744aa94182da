//! Listeners that strangers may connect to, and that still serve their own.
//!
//! A [`Guard`] gives each connection of a listener a [`Slot`]: at most so many, at most so many of one
//! source address, and when there is none left the idlest connection makes room. A connection is in use
//! while a request of it is, whatever else it says: one that only answers PINGs is idle. Sources that
//! must get through, such as the kubelet's probes, have a reserve. [`serve`] accepts for a guard;
//! [`http1`] and `http` serve a connection within the deadlines of its slot.
//!
//! Nothing here knows what is served.

mod gateways;
mod http_connection;
mod limits;
mod listener;
mod open_files;
mod requests;
mod slots;

pub use gateways::default_gateways;
#[cfg(feature = "http2")]
pub use http_connection::http;
pub use http_connection::http1;
pub use limits::Limits;
pub use listener::serve;
pub use open_files::raise_open_files;
pub use requests::Requests;
pub use slots::{Closed, Guard, InUse, Refused, Slot};
