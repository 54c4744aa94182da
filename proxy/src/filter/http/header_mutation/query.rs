//! Changes of a path's query. As Envoy the parameters come out in the order of their names, and what
//! is added is percent-encoded; unlike Envoy what was there stays as it was encoded, so that no
//! client can smuggle a space or a line break into the path.

use std::borrow::Cow;

use crate::config::{
    format::Format, header::AppendAction, http_filter::header_mutation::QueryMutation,
};

/// A parameter: its name as it is compared, and both parts as they are written.
struct Parameter<'p> {
    name: Cow<'p, str>,
    written: Cow<'p, str>,
    value: Cow<'p, str>,
}

/// A path with its query changed. `render` fills values in, which are percent-encoded.
pub(in super::super) fn mutate(
    path: &str,
    mutations: &[QueryMutation],
    render: &dyn Fn(&Format) -> String,
) -> String {
    mutate_by(path, mutations, render, encode)
}

/// The same with another way to encode what is added.
pub(in crate::filter::http) fn mutate_by(
    path: &str,
    mutations: &[QueryMutation],
    render: &dyn Fn(&Format) -> String,
    encode: fn(&str) -> String,
) -> String {
    let (path, fragment) = match path.find('#') {
        Some(start) => path.split_at(start),
        None => (path, ""),
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut parameters = parse(query);
    for mutation in mutations {
        work_in(&mut parameters, mutation, render, encode);
    }
    parameters.sort_by(|one, other| one.name.cmp(&other.name));
    let mut changed = path.to_owned();
    for (index, Parameter { written, value, .. }) in parameters.iter().enumerate() {
        let separator = if index == 0 { "?" } else { "&" };
        changed.extend([separator, written, "=", value]);
    }
    changed + fragment
}

/// A path without the parameters of this name.
pub(in super::super) fn without(path: &str, name: &str) -> String {
    let removal = QueryMutation::Remove(name.to_owned());
    mutate(path, &[removal], &|_| String::new())
}

/// The value of the first parameter of this name, as it is meant.
pub(in super::super) fn first(path: &str, name: &str) -> Option<String> {
    let path = path.find('#').map_or(path, |end| &path[..end]);
    let (_, query) = path.split_once('?')?;
    let found = parse(query).into_iter().find(|known| known.name == name)?;
    Some(decode(&found.value).into_owned())
}

fn parse(query: &str) -> Vec<Parameter<'_>> {
    if query.is_empty() {
        return Vec::new();
    }
    let pairs = query.split('&');
    pairs
        .map(|pair| {
            let (written, value) = pair.split_once('=').unwrap_or((pair, ""));
            Parameter {
                name: decode(written),
                written: written.into(),
                value: value.into(),
            }
        })
        .collect()
}

fn work_in(
    parameters: &mut Vec<Parameter<'_>>,
    mutation: &QueryMutation,
    render: &dyn Fn(&Format) -> String,
    encode: fn(&str) -> String,
) {
    let (key, value, append) = match mutation {
        QueryMutation::Remove(key) => {
            parameters.retain(|parameter| parameter.name != *key);
            return;
        }
        QueryMutation::Append { key, value, append } => (key, value, *append),
    };
    let exists = parameters.iter().any(|parameter| parameter.name == *key);
    match append {
        AppendAction::AddIfAbsent if exists => return,
        AppendAction::OverwriteIfExists if !exists => return,
        AppendAction::AppendIfExistsOrAdd | AppendAction::AddIfAbsent => {}
        AppendAction::OverwriteIfExistsOrAdd | AppendAction::OverwriteIfExists => {
            parameters.retain(|parameter| parameter.name != *key);
        }
    }
    parameters.push(Parameter {
        name: key.clone().into(),
        written: encode(key).into(),
        value: encode(&render(value)).into(),
    });
}

/// What is not unreserved (RFC 3986 section 2.3, less `~` as in Envoy), in hexadecimal.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// What is in hexadecimal as what it stands for. A `+` is one, as in Envoy.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        match digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2))) {
            Some((high, low)) if byte == b'%' => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(key: &str, value: &str, append: AppendAction) -> QueryMutation {
        QueryMutation::Append {
            key: key.to_owned(),
            value: Format::parse(value).expect(value),
            append,
        }
    }

    /// What Envoy 1.40 makes of them, but for the two that say otherwise.
    #[test]
    fn parameters_are_changed_in_order_and_come_out_sorted() {
        use AppendAction::{
            AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd,
        };
        let mutations = [
            append("nw", "v a&l=é~-._+", AppendIfExistsOrAdd),
            append("b", "9", OverwriteIfExists),
            append("zz", "9", OverwriteIfExists),
            append("a", "3", AddIfAbsent),
            append("c", "x", AppendIfExistsOrAdd),
            append("e", "y", OverwriteIfExistsOrAdd),
            QueryMutation::Remove("rem".to_owned()),
        ];
        let nw = "nw=v%20a%26l%3D%C3%A9%7E-._%2B";
        for (path, query) in [
            ("/p?b=1&c&a=2+3&b=2&rem=1", "a=2+3&b=9&c=&c=x&e=y&"),
            ("/p", "a=3&c=x&e=y&"),
            ("/p?", "a=3&c=x&e=y&"),
            ("/p?%62=1", "a=3&b=9&c=x&e=y&"),
            ("/p?A=1&Z=!$()*,;:@/?", "A=1&Z=!$()*,;:@/?&a=3&c=x&e=y&"),
            // Envoy: `a= x`, which is no HTTP.
            ("/p?a=%20x", "a=%20x&c=x&e=y&"),
            ("/p?a=1&%0d%0a=x", "%0d%0a=x&a=1&c=x&e=y&"),
        ] {
            let changed = mutate(path, &mutations, &|format| {
                format.as_literal().unwrap_or_default().to_owned()
            });
            assert_eq!(changed, format!("/p?{query}{nw}"), "{path}");
        }
    }

    #[test]
    fn a_fragment_stays_at_the_end() {
        let remove = [QueryMutation::Remove("a".to_owned())];
        let changed = |path| mutate(path, &remove, &|_| String::new());
        assert_eq!(changed("/p?a=1#f?a=1"), "/p#f?a=1");
        assert_eq!(changed("/p?a=1&b=2"), "/p?b=2");
    }

    proptest::proptest! {
        #[test]
        fn no_path_makes_it_panic_or_break_a_line(path in "/[?&=#%a0+é]{0,24}") {
            let add = [append("k", "v\r\n ", AppendAction::AppendIfExistsOrAdd)];
            let changed = mutate(&path, &add, &|f| f.as_literal().unwrap_or_default().to_owned());
            assert!(!changed.contains([' ', '\r', '\n']));
        }
    }
}
