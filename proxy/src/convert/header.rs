//! Header mutations, which four levels of a route configuration have in common.

use weir_api::xds::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
};

use super::{
    at::{At, take},
    value::{enumeration, header_name, header_value},
};
use crate::config::{
    format::Format,
    header::{AppendAction, HeaderAddition, HeaderChanges, HeaderMutations},
};

/// Envoy takes at most this many additions at a level.
const MAX_ADDITIONS: usize = 1000;
/// What frames a message or names the fields of one hop.
const OF_EACH_HOP: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// Headers to add, and those to remove.
type Lists = (Vec<HeaderValueOption>, Vec<String>);

/// `at` is the message that has the lists, named as everywhere.
pub(super) fn header_mutations(at: &At<'_>, request: Lists, response: Lists) -> HeaderMutations {
    let changes = |kind: &str, (to_add, to_remove): Lists| {
        let [add, remove] = ["add", "remove"].map(|what| format!("{kind}_headers_to_{what}"));
        HeaderChanges {
            remove: removals(&at.field(&remove), &to_remove),
            add: additions(&at.field(&add), to_add),
        }
    };
    HeaderMutations {
        request: changes("request", request),
        response: changes("response", response),
    }
}

fn removals(at: &At<'_>, names: &[String]) -> Vec<String> {
    let checked = |(index, name): (usize, &String)| modifiable(&at.index(index), name);
    names.iter().enumerate().map(checked).collect()
}

fn additions(at: &At<'_>, messages: Vec<HeaderValueOption>) -> Vec<HeaderAddition> {
    if messages.len() > MAX_ADDITIONS {
        at.error(format!(
            "{} headers: must be at most {MAX_ADDITIONS}",
            messages.len()
        ));
    }
    let converted = messages.into_iter().enumerate();
    converted
        .filter_map(|(index, message)| addition(&at.index(index), message))
        .collect()
}

pub(super) fn addition(at: &At<'_>, message: HeaderValueOption) -> Option<HeaderAddition> {
    take!(at, message => HeaderValueOption {
        supported: header, append, append_action, keep_empty_value;
    });
    let header = at.field("header").required(header)?;
    let at_header = at.field("header");
    take!(at_header, header => HeaderValue {
        supported: key, value;
        refused: raw_value;
    });
    let name = modifiable(&at_header.field("key"), &key);
    let value = header_value(&at_header.field("value"), value);
    let value = Format::parse_for_header(&value)
        .map_err(|error| at_header.field("value").error(error.to_string()))
        .ok();
    if append.is_some() && append_action != 0 {
        at.field("append")
            .error("cannot be set together with append_action");
    }
    let action = enumeration(&at.field("append_action"), append_action)?;
    let append = match (append.map(|append| append.value), action) {
        (Some(false), _) | (_, HeaderAppendAction::OverwriteIfExistsOrAdd) => {
            AppendAction::OverwriteIfExistsOrAdd
        }
        (_, HeaderAppendAction::AppendIfExistsOrAdd) => AppendAction::AppendIfExistsOrAdd,
        (_, HeaderAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
        (_, HeaderAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
    };
    Some(HeaderAddition {
        name,
        value: value?,
        append,
        keep_empty_value,
    })
}

/// A header that may be changed: not a pseudo header, not `host`, which routing decides, and none
/// that frames the message or belongs to the connection, which is written for each hop.
pub(super) fn modifiable(at: &At<'_>, name: &str) -> String {
    let name = header_name(at, name);
    if name.starts_with(':') || name == "host" {
        at.error(format!(
            "{name:?}: pseudo headers and host may not be changed"
        ));
    } else if OF_EACH_HOP.contains(&name.as_str()) {
        at.unsupported(format!("{name:?}, which is written for each hop"));
    }
    name
}
