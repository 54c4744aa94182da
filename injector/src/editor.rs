//! A JSON document and the patch that made it what it is.

use json_patch::{
    AddOperation, MoveOperation, Patch, PatchError, PatchOperation, RemoveOperation,
    ReplaceOperation, jsonptr::PointerBuf,
};
use serde_json::Value;

/// Edits a document operation by operation and remembers the operations, so that the patch and
/// the patched document cannot disagree.
pub(crate) struct Editor {
    document: Value,
    operations: Vec<PatchOperation>,
}

/// The pointer that names these members and indices, each escaped as needed.
pub(crate) fn at<const N: usize>(tokens: [&str; N]) -> PointerBuf {
    PointerBuf::from_tokens(tokens)
}

// === impl Editor ===

impl Editor {
    pub(crate) fn new(document: Value) -> Self {
        Self {
            document,
            operations: Vec::new(),
        }
    }

    /// What is at `path` now. `null` counts as nothing.
    pub(crate) fn get(&self, path: &PointerBuf) -> Option<&Value> {
        self.document
            .pointer(path.as_str())
            .filter(|value| !value.is_null())
    }

    /// Adds a member, or inserts before the element of that index.
    pub(crate) fn add(&mut self, path: PointerBuf, value: Value) -> Result<(), PatchError> {
        self.apply(PatchOperation::Add(AddOperation { path, value }))
    }

    pub(crate) fn replace(&mut self, path: PointerBuf, value: Value) -> Result<(), PatchError> {
        self.apply(PatchOperation::Replace(ReplaceOperation { path, value }))
    }

    pub(crate) fn remove(&mut self, path: PointerBuf) -> Result<(), PatchError> {
        self.apply(PatchOperation::Remove(RemoveOperation { path }))
    }

    pub(crate) fn relocate(
        &mut self,
        from: PointerBuf,
        path: PointerBuf,
    ) -> Result<(), PatchError> {
        self.apply(PatchOperation::Move(MoveOperation { from, path }))
    }

    /// Makes `value` the last element of the array at `list`, which is made if absent.
    pub(crate) fn append(&mut self, list: &PointerBuf, value: Value) -> Result<(), PatchError> {
        let end = self.length(list);
        self.insert(list, end, value)
    }

    /// Inserts `value` at `index` of the array at `list`, which is made if absent.
    pub(crate) fn insert(
        &mut self,
        list: &PointerBuf,
        index: usize,
        value: Value,
    ) -> Result<(), PatchError> {
        match self.get(list) {
            Some(_) => self.add(list.with_trailing_token(index), value),
            None => self.add(list.clone(), Value::Array(vec![value])),
        }
    }

    /// Number of elements of the array at `list`; none if it is absent.
    pub(crate) fn length(&self, list: &PointerBuf) -> usize {
        self.get(list).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// Index of the element of the array at `list` whose member `key` is `value`.
    pub(crate) fn position(&self, list: &PointerBuf, key: &str, value: &Value) -> Option<usize> {
        let elements = self.get(list)?.as_array()?;
        elements
            .iter()
            .position(|element| element.get(key) == Some(value))
    }

    /// The document as it is now, and the patch that leads there.
    pub(crate) fn finish(self) -> (Value, Patch) {
        (self.document, Patch(self.operations))
    }

    fn apply(&mut self, operation: PatchOperation) -> Result<(), PatchError> {
        json_patch::patch(&mut self.document, std::slice::from_ref(&operation))?;
        self.operations.push(operation);
        Ok(())
    }
}
