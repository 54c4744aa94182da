//! Cuts a set of protobuf descriptors down to some messages and those they refer to.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MessageOptions,
};

/// The descriptors of the messages that `roots` names, a line each, and of all they refer to.
pub(crate) fn cut(all: FileDescriptorSet, roots: &str) -> FileDescriptorSet {
    Closure::of(&all, roots).cut(all)
}

/// The full names of the messages and enums in the set, as they stand in it.
pub(crate) fn names(set: &FileDescriptorSet) -> Vec<String> {
    let mut names = Vec::new();
    for file in &set.file {
        let scope = format!(".{}", file.package());
        let mut references = BTreeMap::new();
        for message in &file.message_type {
            collect(&scope, message, &mut references, &mut names);
        }
        let enums = file.enum_type.iter();
        names.extend(enums.map(|enumeration| format!("{scope}.{}", enumeration.name())));
    }
    names.sort();
    names
}

/// The messages and enums that are kept, by full name with a leading dot.
struct Closure {
    kept: BTreeSet<String>,
    /// The file each message and enum is declared in.
    files: BTreeMap<String, String>,
}

impl Closure {
    fn of(all: &FileDescriptorSet, roots: &str) -> Self {
        let mut references = BTreeMap::new();
        let mut files = BTreeMap::new();
        for file in &all.file {
            let mut declared = Vec::new();
            let scope = format!(".{}", file.package());
            for message in &file.message_type {
                collect(&scope, message, &mut references, &mut declared);
            }
            for enumeration in &file.enum_type {
                declared.push(format!("{scope}.{}", enumeration.name()));
            }
            files.extend(
                declared
                    .into_iter()
                    .map(|name| (name, file.name().to_owned())),
            );
        }

        let mut kept = BTreeSet::new();
        let mut open: Vec<String> = Vec::new();
        for root in roots.lines().map(str::trim) {
            if root.is_empty() || root.starts_with('#') {
                continue;
            }
            let name = format!(".{root}");
            let known = references.contains_key(&name);
            assert!(known, "roots.txt: envoy-types has no message {root}");
            open.push(name);
        }
        while let Some(name) = open.pop() {
            open.extend(references.get(&name).into_iter().flatten().cloned());
            kept.insert(name.clone());
            references.remove(&name);
        }
        Self { kept, files }
    }

    fn cut(&self, mut all: FileDescriptorSet) -> FileDescriptorSet {
        for file in &mut all.file {
            self.cut_file(file);
        }
        all.file
            .retain(|file| !file.message_type.is_empty() || !file.enum_type.is_empty());
        all
    }

    fn cut_file(&self, file: &mut FileDescriptorProto) {
        let scope = format!(".{}", file.package());
        file.message_type
            .retain_mut(|message| self.cut_message(&scope, message));
        file.enum_type
            .retain_mut(|enumeration| self.cut_enum(&scope, enumeration));

        let mut used = BTreeSet::new();
        for message in &file.message_type {
            self.files_used(message, &mut used);
        }
        used.remove(file.name());
        file.dependency = used.into_iter().collect();
        file.public_dependency.clear();
        file.weak_dependency.clear();
        file.service.clear();
        file.extension.clear();
        file.options = None;
        file.source_code_info = None;
    }

    /// Whether the message stays: for itself, or as the scope of a message that stays.
    fn cut_message(&self, scope: &str, message: &mut DescriptorProto) -> bool {
        let name = format!("{scope}.{}", message.name());
        message
            .nested_type
            .retain_mut(|nested| self.cut_message(&name, nested));
        message
            .enum_type
            .retain_mut(|nested| self.cut_enum(&name, nested));
        message.extension.clear();
        message.extension_range.clear();
        message.options = message.options.take().filter(MessageOptions::map_entry);
        for field in &mut message.field {
            field.options = None;
        }
        for oneof in &mut message.oneof_decl {
            oneof.options = None;
        }
        if self.kept.contains(&name) {
            return true;
        }
        message.field.clear();
        message.oneof_decl.clear();
        !message.nested_type.is_empty() || !message.enum_type.is_empty()
    }

    fn cut_enum(&self, scope: &str, enumeration: &mut EnumDescriptorProto) -> bool {
        // `allow_alias` is needed to accept aliases; the other options are not.
        if let Some(options) = &mut enumeration.options {
            options.uninterpreted_option.clear();
            options.deprecated = None;
        }
        for value in &mut enumeration.value {
            value.options = None;
        }
        self.kept
            .contains(&format!("{scope}.{}", enumeration.name()))
    }

    fn files_used(&self, message: &DescriptorProto, used: &mut BTreeSet<String>) {
        for name in message.field.iter().filter_map(reference) {
            used.extend(self.files.get(name).cloned());
        }
        for nested in &message.nested_type {
            self.files_used(nested, used);
        }
    }
}

/// Records what `message` and its nested messages declare and refer to.
fn collect(
    scope: &str,
    message: &DescriptorProto,
    references: &mut BTreeMap<String, Vec<String>>,
    declared: &mut Vec<String>,
) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, references, declared);
    }
    for enumeration in &message.enum_type {
        declared.push(format!("{name}.{}", enumeration.name()));
    }
    let referred = message
        .field
        .iter()
        .filter_map(reference)
        .map(str::to_owned)
        .collect();
    references.insert(name.clone(), referred);
    declared.push(name);
}

/// Full name of the message or enum that is the field's type.
fn reference(field: &FieldDescriptorProto) -> Option<&str> {
    field.type_name.as_deref().filter(|name| !name.is_empty())
}
