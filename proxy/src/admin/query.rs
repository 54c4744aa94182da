//! Query parameters.

/// Query parameters, decoded, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

// === impl Query ===

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        };
        Self(
            query
                .split('&')
                .filter(|p| !p.is_empty())
                .map(pair)
                .collect(),
        )
    }

    /// Value of the parameter; empty if it has none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every parameter, in order.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first parameter that is not among `known`, where a name in `<>` stands for any.
    pub(super) fn unknown(&self, known: &[(&str, &str)]) -> Option<&str> {
        let is_known = |name: &str| {
            known
                .iter()
                .any(|(known, _)| *known == name || known.starts_with('<'))
        };
        let mut names = self.0.iter().map(|(name, _)| name.as_str());
        names.find(|name| !is_known(name))
    }
}

fn decode(text: &str) -> String {
    let hex = |digit: Option<&u8>| char::from(*digit?).to_digit(16);
    let (bytes, mut decoded) = (text.as_bytes(), Vec::with_capacity(text.len()));
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let escaped = hex(bytes.get(index + 1)).zip(hex(bytes.get(index + 2)));
        match (byte, escaped) {
            (b'%', Some((high, low))) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                index += 2;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(*byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_may_lack_a_value() {
        let query = Query::parse("usedonly&filter=%5Ecluster%5C.a+b&&x=%zz%4");
        assert!(query.has("usedonly"));
        assert_eq!(query.get("filter"), Some(r"^cluster\.a b"));
        assert_eq!(query.get("x"), Some("%zz%4"));
        assert_eq!(query.get("y"), None);
        assert_eq!(
            query.unknown(&[("usedonly", ""), ("filter", "")]),
            Some("x")
        );
    }
}
