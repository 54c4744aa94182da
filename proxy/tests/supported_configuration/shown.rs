//! What the cases of `agent/tests/effects/cases` show.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use prost_reflect::{DescriptorPool, MessageDescriptor};
use serde_json::Value;

/// What is known of a field's effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Shown,
    /// Nobody can see it, with the reason.
    None(String),
}

/// Fields by `Message.field`.
pub(crate) struct Shown {
    fields: BTreeMap<String, Effect>,
    pool: DescriptorPool,
    used: BTreeSet<String>,
}

impl Shown {
    pub(crate) fn read() -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/effects/cases");
        let mut fields = BTreeMap::new();
        for file in fs::read_dir(directory).expect("the cases") {
            let text = fs::read_to_string(file.expect("a file").path()).expect("a file");
            let cases: Vec<Value> = yaml_serde::from_str(&text).expect("cases");
            for case in &cases {
                let effect = match case.get("no_effect").and_then(Value::as_str) {
                    Some(why) => Effect::None(why.to_owned()),
                    None => Effect::Shown,
                };
                fields.extend(names(&case["shows"]).map(|name| (name, effect.clone())));
            }
        }
        let embedded: &[u8] = include_bytes!("../../../api/descriptors.bin");
        let pool = DescriptorPool::decode(embedded).expect("descriptors");
        let used = BTreeSet::new();
        Self { fields, pool, used }
    }

    /// Whether a case shows the field, or a member of the choice.
    pub(crate) fn use_up(&mut self, message: &str, field: &str) -> bool {
        let shown = self.members(message, field);
        self.used
            .extend(shown.iter().map(|name| key(message, name)));
        !shown.is_empty()
    }

    /// What cases name and nobody has used up.
    pub(crate) fn not_used(&self) -> impl Iterator<Item = &String> {
        self.fields.keys().filter(|name| !self.used.contains(*name))
    }

    /// What is known of the field, or of the first member of the choice.
    pub(crate) fn effect(&self, message: &str, field: &str) -> Option<&Effect> {
        let first = self.members(message, field).into_iter().next()?;
        self.fields.get(&key(message, &first))
    }

    /// The field, and of a choice the members that are shown.
    pub(crate) fn with_members(&self, message: &str, field: &str) -> String {
        let members = self.members(message, field);
        if members == [field] {
            return format!("`{field}`");
        }
        let members: Vec<String> = members.iter().map(|name| format!("`{name}`")).collect();
        format!("`{field}` ({})", members.join(", "))
    }

    /// The field itself where a case names it, or those members of the choice that cases name.
    fn members(&self, message: &str, field: &str) -> Vec<String> {
        if self.fields.contains_key(&key(message, field)) {
            return vec![field.to_owned()];
        }
        let ends = format!(".{message}");
        let found = self
            .pool
            .all_messages()
            .filter(|it| it.full_name().ends_with(&ends));
        let members: Vec<String> = found.flat_map(|it| choice(&it, field)).collect();
        let mut shown: Vec<String> = members
            .into_iter()
            .filter(|name| self.fields.contains_key(&key(message, name)))
            .collect();
        shown.dedup();
        shown
    }
}

fn key(message: &str, field: &str) -> String {
    format!("{message}.{field}")
}

/// `Message.field` or `Message.field: value`, or a list of them.
fn names(shows: &Value) -> Box<dyn Iterator<Item = String> + '_> {
    match shows {
        Value::String(name) => Box::new(std::iter::once(name.clone())),
        Value::Object(one) => Box::new(one.keys().cloned()),
        Value::Array(many) => Box::new(many.iter().flat_map(names)),
        other => panic!("{other}: write Message.field"),
    }
}

fn choice(message: &MessageDescriptor, name: &str) -> Vec<String> {
    let choice = message.oneofs().find(|it| it.name() == name);
    let fields = choice.into_iter().flat_map(|it| {
        let names = it.fields().map(|field| field.name().to_owned());
        names.collect::<Vec<_>>()
    });
    fields.collect()
}
