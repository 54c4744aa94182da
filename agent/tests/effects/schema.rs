//! Where the messages of a configuration stand, by their descriptors, and how one field of all
//! messages of a type is taken out or changed.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

const TYPE_URL: &str = "type.googleapis.com/";

/// The messages of Envoy's API that Weir reads.
pub(crate) struct Schema {
    pool: DescriptorPool,
    /// Full names of messages.
    names: Vec<String>,
    /// Names without their package.
    short: BTreeSet<String>,
    /// Full names that were looked for, by their end.
    found: RefCell<BTreeMap<String, String>>,
}

/// `Message.field`, and what stands in its place where it is not taken out but changed.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    message: String,
    field: String,
    instead: Option<Value>,
}

// === impl Schema ===

impl Schema {
    pub(crate) fn load() -> Self {
        let embedded: &[u8] = include_bytes!("../../../api/descriptors.bin");
        let pool = DescriptorPool::decode(embedded).expect("descriptors");
        let names = pool.all_messages().map(|it| it.full_name().to_owned());
        Self {
            names: names.collect(),
            short: pool.all_messages().map(|it| short(&it)).collect(),
            found: RefCell::default(),
            pool,
        }
    }

    /// Writes `@type: Router` in full.
    pub(crate) fn name_types(&self, tree: &mut Value) {
        match tree {
            Value::Array(items) => items.iter_mut().for_each(|item| self.name_types(item)),
            Value::Object(fields) => {
                for (key, value) in fields.iter_mut() {
                    match value {
                        Value::String(name) if key == "@type" && !name.contains('/') => {
                            *name = format!("{TYPE_URL}{}", self.full_name(name));
                        }
                        _ => self.name_types(value),
                    }
                }
            }
            _ => {}
        }
    }

    fn full_name(&self, end: &str) -> String {
        if let Some(name) = self.found.borrow().get(end) {
            return name.clone();
        }
        let tail = format!(".{end}");
        let mut found = self.names.iter().filter(|name| name.ends_with(&tail));
        let first = found.next();
        let first = first.unwrap_or_else(|| panic!("no message {end} in api/roots.txt"));
        if let Some(other) = found.next() {
            panic!("{end} is {first} or {other}");
        }
        let mut known = self.found.borrow_mut();
        known.insert(end.to_owned(), first.clone());
        first.clone()
    }

    /// Whether the field was there and is now gone, or changed. `tree` is a message of type `of`, or one
    /// that says its type.
    pub(crate) fn change(&self, tree: &mut Value, of: &str, field: &Field) -> bool {
        let exact = self.short.contains(&field.message);
        let of = self.pool.get_message_by_name(of).expect("a message");
        self.change_in(tree, &of, field, exact)
    }

    fn change_in(
        &self,
        tree: &mut Value,
        of: &MessageDescriptor,
        field: &Field,
        exact: bool,
    ) -> bool {
        let fields = match tree {
            Value::Array(items) => {
                let changed = items
                    .iter_mut()
                    .map(|it| self.change_in(it, of, field, exact));
                return changed.fold(false, |any, one| any | one);
            }
            Value::Object(fields) => fields,
            _ => return false,
        };
        let of_any = fields.get("@type").and_then(Value::as_str);
        let of_any = of_any.and_then(|url| self.pool.get_message_by_name(url.rsplit('/').next()?));
        let of = of_any.as_ref().unwrap_or(of);
        let mut any = false;
        if field.is_of(of, exact) && fields.contains_key(&field.field) {
            any = true;
            match &field.instead {
                Some(value) => drop(fields.insert(field.field.clone(), value.clone())),
                None => drop(fields.remove(&field.field)),
            }
        }
        for (key, value) in fields.iter_mut() {
            let Some(descriptor) = of.get_field_by_name(key) else {
                continue;
            };
            if let Some(child) = message_of(&descriptor) {
                match value {
                    Value::Object(entries) if descriptor.is_map() => {
                        for entry in entries.values_mut() {
                            any |= self.change_in(entry, &child, field, exact);
                        }
                    }
                    value => any |= self.change_in(value, &child, field, exact),
                }
            }
        }
        any
    }
}

/// The message of a field, or of the values of a map.
fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let Kind::Message(message) = field.kind() else {
        return None;
    };
    if !field.is_map() {
        return Some(message);
    }
    match message.map_entry_value_field().kind() {
        Kind::Message(value) => Some(value),
        _ => None,
    }
}

/// A message's name without its package.
fn short(message: &MessageDescriptor) -> String {
    let package = format!("{}.", message.package_name());
    let name = message.full_name();
    name.strip_prefix(&package).unwrap_or(name).to_owned()
}

// === impl Field ===

impl Field {
    pub(crate) fn new(name: &str, instead: Option<Value>) -> Self {
        let (message, field) = name.rsplit_once('.').expect("Message.field");
        Self {
            message: message.to_owned(),
            field: field.to_owned(),
            instead,
        }
    }

    /// A name that no message has in full may be the end of one: `EnvoyGrpc` for
    /// `GrpcService.EnvoyGrpc`.
    fn is_of(&self, message: &MessageDescriptor, exact: bool) -> bool {
        let name = short(message);
        name == self.message || !exact && name.ends_with(&format!(".{}", self.message))
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.message, self.field)?;
        match &self.instead {
            Some(value) => write!(out, " changed to {value}"),
            None => Ok(()),
        }
    }
}
