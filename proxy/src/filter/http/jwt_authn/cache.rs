//! Tokens that were found valid lately, so that a signature is checked once.

use std::{mem, rc::Rc};

use hashbrown::HashMap;

use crate::{config::http_filter::jwt_authn::JwtCache, jwt::Token};

/// Tokens by what was sent, in two generations of half the size each: one that is used moves to the
/// younger, and when that is full the older goes. So those that are used stay, at the price of a
/// lookup, and there are never more than asked for.
pub(super) struct TokenCache {
    max_token_size: usize,
    generation: usize,
    young: Generation,
    old: Generation,
}

type Generation = HashMap<Box<str>, Rc<Token>>;

// === impl TokenCache ===

impl TokenCache {
    pub(super) fn new(config: JwtCache) -> Self {
        let number = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        Self {
            max_token_size: number(config.max_token_size),
            generation: number(config.size).div_ceil(2).max(1),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    pub(super) fn get(&mut self, text: &str) -> Option<Rc<Token>> {
        if let Some(token) = self.young.get(text) {
            return Some(Rc::clone(token));
        }
        let (text, token) = self.old.remove_entry(text)?;
        self.put(text, Rc::clone(&token));
        Some(token)
    }

    pub(super) fn insert(&mut self, text: String, token: Rc<Token>) {
        if text.len() <= self.max_token_size {
            self.put(text.into(), token);
        }
    }

    /// Forgets a token that is no longer valid.
    pub(super) fn remove(&mut self, text: &str) {
        self.young.remove(text);
        self.old.remove(text);
    }

    fn put(&mut self, text: Box<str>, token: Rc<Token>) {
        if self.young.len() >= self.generation {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(text, token);
    }
}
