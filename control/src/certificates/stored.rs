//! What the Secret of the CA holds: one set of keys and certificates that all replicas share.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use k8s_openapi::jiff::Timestamp;
use zeroize::Zeroizing;

use super::{Authority, Leaf};

/// Keys of the Secret's data.
pub(crate) mod key {
    /// Certificate of the CA that signs, and those between it and a root.
    pub(crate) const CA: &str = "ca.crt";
    /// The root certificates that it comes from, where it is none itself.
    pub(crate) const ROOT: &str = "ca-root.crt";
    /// Its key.
    pub(crate) const CA_KEY: &str = "ca.key";
    /// Certificate that is served.
    pub(crate) const SERVING: &str = "tls.crt";
    /// Its key.
    pub(crate) const SERVING_KEY: &str = "tls.key";
    /// Certificate of the CA that will sign next.
    pub(crate) const NEXT: &str = "ca-next.crt";
    /// Its key.
    pub(crate) const NEXT_KEY: &str = "ca-next.key";
    /// The root certificates that it comes from, where it is none itself.
    pub(crate) const NEXT_ROOT: &str = "ca-next-root.crt";
    /// Since when clients are told of it, where that is not since it was made.
    pub(crate) const NEXT_SINCE: &str = "ca-next-since";
    /// Certificates of CAs that sign no more.
    pub(crate) const PREVIOUS: &str = "ca-previous.crt";
    /// Time until when something that they signed may be served.
    pub(crate) const PREVIOUS_UNTIL: &str = "ca-previous-until";
}

/// Data of a Secret, with the encoding taken off. Keys are in it, so it is wiped.
pub(crate) type Data = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// The CA, what it signed, and those before and after it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// The CA that signs.
    pub(crate) active: Arc<Authority>,
    /// What is served; `None` if it has to be issued.
    pub(crate) serving: Option<Leaf>,
    /// The CA that will sign next; clients are told of it already.
    pub(crate) next: Option<Arc<Authority>>,
    /// Since when they are told of it, where that is not since it was made.
    pub(crate) next_since: Option<SystemTime>,
    /// CAs that signed before; clients still trust them.
    pub(crate) previous: Option<Previous>,
}

/// Certificates of CAs that sign no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) pem: String,
    /// When the last certificate that they signed ends.
    pub(crate) until: SystemTime,
}

/// What a Secret turned out to hold.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Nothing of ours.
    Empty,
    /// All that is needed. What was left out is said, with the reason.
    Good(Box<Stored>, Vec<String>),
}

// === impl Stored ===

impl Stored {
    /// Reads the data of a Secret.
    ///
    /// # Errors
    /// The CA is not there whole. It is not for us to replace, since clients trust it.
    pub(crate) fn read(data: &Data) -> Result<Reading, String> {
        if !data
            .keys()
            .any(|name| [key::CA, key::CA_KEY].contains(&name.as_str()))
        {
            return Ok(Reading::Empty);
        }
        let active = authority(data, key::CA_KEY, key::CA, key::ROOT)?;
        let mut left_out = Vec::new();
        let mut or_none = |reason| left_out.push(reason);
        let serving = match pair(data, key::SERVING_KEY, key::SERVING) {
            None => None,
            Some(pair) => pair
                .and_then(|(key, pem)| Leaf::parse(key, pem))
                .and_then(|leaf| leaf.signed_by(&active))
                .map_err(|reason| or_none(format!("{}: {reason}", key::SERVING)))
                .ok(),
        };
        let next = match pair(data, key::NEXT_KEY, key::NEXT) {
            None => None,
            Some(_) => authority(data, key::NEXT_KEY, key::NEXT, key::NEXT_ROOT)
                .map_err(or_none)
                .ok(),
        };
        let previous = previous(data).unwrap_or_else(|reason| {
            left_out.push(reason);
            None
        });
        let since = data.get(key::NEXT_SINCE).filter(|_| next.is_some());
        let since = since.and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok());
        let stored = Self {
            active,
            serving,
            next,
            next_since: since.map(|since: Timestamp| since.into()),
            previous,
        };
        Ok(Reading::Good(Box::new(stored), left_out))
    }

    /// Writes it into the data of a Secret; other keys stay.
    pub(crate) fn write(&self, data: &mut Data) {
        let serving = self.serving.as_ref();
        let (next, previous) = (self.next.as_ref(), self.previous.as_ref());
        let until = previous.and_then(|previous| Timestamp::try_from(previous.until).ok());
        let since = self.next_since.filter(|_| next.is_some());
        let since = since.and_then(|since| Timestamp::try_from(since).ok());
        let roots = |of: &Arc<Authority>| {
            let is_root = of.above().is_empty() && blocks(of.pem()).eq(blocks(of.roots()));
            (!is_root).then(|| of.roots().to_owned())
        };
        for (name, value) in [
            (key::CA, Some(self.active.pem().to_owned())),
            (key::CA_KEY, Some(self.active.key_pem().to_owned())),
            (key::ROOT, roots(&self.active)),
            (key::SERVING, serving.map(|leaf| leaf.pem.clone())),
            (
                key::SERVING_KEY,
                serving.map(|leaf| leaf.key_pem.to_string()),
            ),
            (key::NEXT, next.map(|next| next.pem().to_owned())),
            (key::NEXT_KEY, next.map(|next| next.key_pem().to_owned())),
            (key::NEXT_ROOT, next.and_then(roots)),
            (key::NEXT_SINCE, since.map(|since| since.to_string())),
            (key::PREVIOUS, previous.map(|previous| previous.pem.clone())),
            (key::PREVIOUS_UNTIL, until.map(|until| until.to_string())),
        ] {
            match value {
                Some(value) => data.insert(name.to_owned(), value.into_bytes().into()),
                None => data.remove(name),
            };
        }
    }

    /// What clients trust: the CAs of the past, the present and the future. The order depends on the
    /// certificates alone, so that it stays as it is when the next one becomes the one that signs.
    pub(crate) fn bundle(&self) -> String {
        let next = self.next.iter().map(|next| next.roots());
        let previous = self.previous.iter().map(|previous| previous.pem.as_str());
        let all = [self.active.roots()]
            .into_iter()
            .chain(next)
            .chain(previous);
        let mut all: Vec<_> = all.flat_map(blocks).collect();
        all.sort_unstable();
        all.dedup();
        all.concat()
    }
}

fn authority(data: &Data, key: &str, name: &str, root: &str) -> Result<Arc<Authority>, String> {
    let wrong = |reason| format!("{name} and {key}: {reason}");
    let (key, pem) = pair(data, key, name)
        .unwrap_or_else(|| Err("absent".to_owned()))
        .map_err(wrong)?;
    let authority = Authority::parse(key, pem).map_err(wrong)?;
    let roots = data.get(root).map(|roots| std::str::from_utf8(roots));
    Ok(Arc::new(match roots {
        None => authority,
        Some(Ok(roots)) if super::verify::roots(roots).is_ok() => authority.with_roots(roots),
        Some(_) => return Err(format!("{root}: no certificates")),
    }))
}

fn previous(data: &Data) -> Result<Option<Previous>, String> {
    let Some(pair) = pair(data, key::PREVIOUS_UNTIL, key::PREVIOUS) else {
        return Ok(None);
    };
    let wrong = |reason: String| format!("{}: {reason}", key::PREVIOUS);
    let (until, pem) = pair.map_err(wrong)?;
    let until: Timestamp = until
        .trim()
        .parse()
        .map_err(|error| format!("{}: {error}", key::PREVIOUS_UNTIL))?;
    super::verify::roots(pem).map_err(wrong)?;
    Ok(Some(Previous {
        pem: pem.to_owned(),
        until: until.into(),
    }))
}

/// Two values as text; `None` if neither is there.
fn pair<'a>(
    data: &'a Data,
    first: &str,
    second: &str,
) -> Option<Result<(&'a str, &'a str), String>> {
    let text = |name: &str| {
        let value = data.get(name).ok_or_else(|| format!("{name} is absent"))?;
        std::str::from_utf8(value).map_err(|_| format!("{name} is no text"))
    };
    if !data.contains_key(first) && !data.contains_key(second) {
        return None;
    }
    Some(text(first).and_then(|first| Ok((first, text(second)?))))
}

/// The blocks of a PEM text, each with a line break at its end.
pub(super) fn blocks(pem: &str) -> impl Iterator<Item = String> + '_ {
    const END: &str = "-----END CERTIFICATE-----";
    pem.split_inclusive(END)
        .filter(|block| block.ends_with(END))
        .map(|block| format!("{}\n", block.trim()))
}

#[cfg(test)]
mod tests;
