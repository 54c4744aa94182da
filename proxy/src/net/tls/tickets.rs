//! Session tickets (RFC 8446 section 4.6.1): what a session needs to be resumed, sealed for
//! ourselves and kept by the client.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use rustls::{
    TicketRotator,
    crypto::GetRandomFailed,
    server::{NoServerSessionStorage, ProducesTickets, StoresServerSessions},
};

use crate::config::tls::{TicketKey, TicketKeys};

/// How long a session may be resumed, if nothing else is said: what BoringSSL does.
const LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);
const NAME: usize = 16;

/// Seals with the first key, opens with any.
struct Tickets {
    keys: Vec<(TicketKey, LessSafeKey)>,
    lifetime: u32,
}

/// Seals with keys of its own, and opens what they have sealed for as long as it says.
#[derive(Debug)]
struct Own {
    tickets: TicketRotator,
    lifetime: u32,
}

/// Tickets alone resume sessions.
pub(super) fn no_storage() -> Arc<dyn StoresServerSessions> {
    Arc::new(NoServerSessionStorage {})
}

/// Of keys that this process makes, and replaces in time.
pub(super) fn own(lifetime: Option<Duration>) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    fn fresh() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
        let (mut name, mut key) = ([0; NAME], [0; 32]);
        rand::fill(&mut name).map_err(|_| GetRandomFailed)?;
        rand::fill(&mut key).map_err(|_| GetRandomFailed)?;
        let keys = TicketKeys(vec![TicketKey { name, key }]);
        let tickets = Tickets::new(&keys, seconds(None)).ok_or(GetRandomFailed)?;
        Ok(Box::new(tickets))
    }
    let lifetime = seconds(lifetime);
    // A key seals for half of the time, and opens for the other half, too.
    let tickets = TicketRotator::new(lifetime.div_ceil(2), fresh)?;
    Ok(Arc::new(Own { tickets, lifetime }))
}

/// Of keys that others have, too.
pub(super) fn of_keys(
    keys: &TicketKeys,
    lifetime: Option<Duration>,
) -> Option<Arc<dyn ProducesTickets>> {
    Some(Arc::new(Tickets::new(keys, seconds(lifetime))?))
}

fn seconds(lifetime: Option<Duration>) -> u32 {
    u32::try_from(lifetime.unwrap_or(LIFETIME).as_secs()).unwrap_or(u32::MAX)
}

// === impl Tickets ===

impl Tickets {
    fn new(keys: &TicketKeys, lifetime: u32) -> Option<Self> {
        let key = |key: &TicketKey| {
            let unbound = UnboundKey::new(&AES_256_GCM, &key.key).ok()?;
            Some((key.clone(), LessSafeKey::new(unbound)))
        };
        let keys: Option<Vec<_>> = keys.0.iter().map(key).collect();
        keys.map(|keys| Self { keys, lifetime })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (TicketKey { name, .. }, key) = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let (unique, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(name));
        key.seal_in_place_append_tag(unique, aad, &mut sealed)
            .ok()?;
        Some([&name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut keys = self.keys.iter();
        let (_, key) = keys.find(|(key, _)| key.name == *name)?;
        let mut opened = sealed.to_vec();
        let (unique, aad) = (Nonce::assume_unique_for_key(*nonce), Aad::from(name));
        let length = key.open_in_place(unique, aad, &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

// === impl Own ===

impl ProducesTickets for Own {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.tickets.decrypt(ticket)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets { [redacted] }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(names: &[u8]) -> Tickets {
        let key = |name: &u8| TicketKey {
            name: [*name; 16],
            key: [*name; 32],
        };
        let keys = TicketKeys(names.iter().map(key).collect());
        Tickets::new(&keys, 60).expect("keys")
    }

    #[test]
    fn a_ticket_of_an_older_key_opens_as_long_as_the_key_is_kept() {
        let sealed = tickets(&[1]).encrypt(b"session").expect("sealed");
        let open = |names: &[u8]| tickets(names).decrypt(&sealed);
        assert_eq!(open(&[2, 1]).as_deref(), Some(&b"session"[..]));
        assert_eq!(open(&[2]), None);
        let mut changed = sealed.clone();
        changed[40] ^= 1;
        assert_eq!(tickets(&[1]).decrypt(&changed), None);
        assert_eq!(tickets(&[1]).decrypt(&sealed[..20]), None);
    }
}
