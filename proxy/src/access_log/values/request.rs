//! What a line says of a request itself.

use std::borrow::Cow;

use super::{Facts, print, status};
use crate::{
    config::format::{Command, HostSource, PathSource, ServerNameChoice},
    info::request_id,
    random,
};

impl Facts<'_> {
    /// Appends what is asked for of a request; none if there is no such thing.
    pub(super) fn of_request(&self, command: &Command, out: &mut String) -> Option<()> {
        let outcome = self.outcome;
        match command {
            Command::RequestHeader(name, other) => {
                out.push_str(&self.either(name, other.as_deref())?);
            }
            Command::RequestHeaderWithoutQuery(name, other) => {
                out.push_str(without_query(&self.either(name, other.as_deref())?));
            }
            Command::ResponseHeader(name, other) => {
                let find = |name: &String| self.response.and_then(|find| find(name));
                out.push_str(&find(name).or_else(|| other.as_ref().and_then(find))?);
            }
            Command::Path { with_query, source } => {
                let path = match source {
                    PathSource::Path => self.header(":path")?,
                    PathSource::Original => self.header("x-envoy-original-path")?,
                    PathSource::OriginalOrPath => {
                        self.either("x-envoy-original-path", Some(":path"))?
                    }
                };
                out.push_str(match with_query {
                    true => &path,
                    false => without_query(&path),
                });
            }
            Command::QueryParam(name) => {
                let path = self.header(":path")?;
                let (_, query) = path.split_once('?')?;
                let mut parameters = query
                    .split('&')
                    .map(|it| it.split_once('=').unwrap_or((it, "")));
                out.push_str(parameters.find(|(known, _)| known == name)?.1);
            }
            Command::QueryParams { decoded } => {
                let path = self.header(":path")?;
                let (_, query) = path.split_once('?')?;
                match decoded {
                    true => out.push_str(&percent_decoded(query)),
                    false => out.push_str(query),
                }
            }
            Command::ResponseCode => print(out, outcome.response_code),
            Command::ResponseCodeDetails { allow_whitespaces } => {
                let details: &str = match (&outcome.details, outcome.reason) {
                    (Some(details), _) => details,
                    (None, Some(reason)) => reason.code(),
                    (None, None) if self.request.is_some() => "via_upstream",
                    (None, None) => return None,
                };
                match allow_whitespaces {
                    true => out.push_str(details),
                    false => out.extend(details.chars().map(|c| match c {
                        c if c.is_ascii_whitespace() => '_',
                        c => c,
                    })),
                }
            }
            Command::ResponseFlags => status::flags(outcome, out),
            Command::ResponseFlagsLong => status::long_flags(outcome, out),
            Command::GrpcStatus(format) => status::grpc(self.grpc_status()?, *format, out),
            Command::RequestedServerName(choice, source) => {
                self.requested_server_name(*choice, *source, out)?;
            }
            Command::StreamId => match self.header("x-request-id") {
                Some(id) => out.push_str(&id),
                None => return None,
            },
            Command::UniqueId => {
                let mut state = random::seed();
                let (high, low) = (random::next(&mut state), random::next(&mut state));
                out.push_str(request_id::new(high, low).as_str());
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.request.and_then(|request| request.field(name))
    }

    fn either(&self, name: &str, other: Option<&str>) -> Option<Cow<'_, str>> {
        let other = || other.and_then(|other| self.header(other));
        self.header(name).or_else(other)
    }

    fn requested_server_name(
        &self,
        choice: ServerNameChoice,
        source: HostSource,
        out: &mut String,
    ) -> Option<()> {
        let sni = self.context.server_name.as_deref();
        let host = || match source {
            HostSource::Host => self.header(":authority"),
            HostSource::Original => self.header("x-envoy-original-host"),
            HostSource::OriginalOrHost => self.either("x-envoy-original-host", Some(":authority")),
        };
        match choice {
            ServerNameChoice::SniOnly => server_name(sni?, out),
            ServerNameChoice::SniFirst => match sni {
                Some(sni) => server_name(sni, out),
                None => out.push_str(&host()?),
            },
            ServerNameChoice::HostFirst => match host() {
                Some(host) => out.push_str(&host),
                None => server_name(sni?, out),
            },
        }
        Some(())
    }
}

fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'%').then(|| after.get(..2)).flatten();
        let value = digits.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Appends the name that a TLS client asks for. It is any text: as in Envoy, one that is no name is marked,
/// and its characters replaced that names do not have.
fn server_name(name: &str, out: &mut String) {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.chars().all(is_of_name) {
        return out.push_str(name);
    }
    out.push_str("invalid:");
    let bytes = name.chars();
    // One for each byte.
    let shown = bytes.flat_map(|c| match is_of_name(c) {
        true => std::iter::repeat_n(c, 1),
        false => std::iter::repeat_n('_', c.len_utf8()),
    });
    out.extend(shown);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none_are_marked() {
        for (name, shown) in [
            ("ok.under_score.example", "ok.under_score.example"),
            ("a\nb", "invalid:a_b"),
            ("a\"b c", "invalid:a_b_c"),
            ("\u{e9}", "invalid:__"),
        ] {
            let mut out = String::new();
            server_name(name, &mut out);
            assert_eq!(out, shown);
        }
    }

    #[test]
    fn percent_signs_are_resolved_where_they_can_be() {
        for (text, decoded) in [
            ("a%20b%2", "a b%2"),
            ("%zz%41", "%zzA"),
            ("%C3%A9", "\u{e9}"),
        ] {
            assert_eq!(percent_decoded(text), decoded);
        }
    }
}
