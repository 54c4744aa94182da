//! Whether the tokens of one provider, or of any, are valid.

use std::{rc::Rc, time::Duration};

use super::{
    super::Decoding,
    locations::{self, Found},
    outputs,
    verify::Verification,
};
use crate::{
    config::http_filter::jwt_authn::{Allowance, JwtLocation, JwtProvider, comparable_audience},
    jwt::{Status, Token},
};

/// Who may have issued the tokens that are looked at.
#[derive(Clone, Copy)]
struct Expected<'c> {
    /// Index of the provider; none: the one whose issuer a token names.
    provider: Option<usize>,
    /// In place of the provider's audiences.
    audiences: Option<&'c [String]>,
    allow: Option<Allowance>,
}

// === impl Verification ===

impl<'c> Verification<'c> {
    /// Tokens of this provider.
    pub(super) fn authenticate_by(
        &mut self,
        provider: usize,
        audiences: Option<&'c [String]>,
        d: &mut Decoding<'_, 'c>,
    ) -> Result<(), Status> {
        let expected = Expected {
            provider: Some(provider),
            audiences,
            allow: None,
        };
        let locations = match self.config.providers.get(provider) {
            Some(provider) => &provider.locations[..],
            None => &[],
        };
        self.authenticate(expected, locations, d)
    }

    /// Tokens of any provider.
    pub(super) fn authenticate_by_any(
        &mut self,
        allow: Allowance,
        d: &mut Decoding<'_, 'c>,
    ) -> Result<(), Status> {
        let expected = Expected {
            provider: None,
            audiences: None,
            allow: Some(allow),
        };
        self.authenticate(expected, &self.config.locations, d)
    }

    /// All tokens must be valid: with one that is not beside one that is, the endpoint might read the
    /// wrong one.
    fn authenticate(
        &mut self,
        expected: Expected<'c>,
        locations: &'c [JwtLocation],
        d: &mut Decoding<'_, 'c>,
    ) -> Result<(), Status> {
        let found = locations::find(locations, &d.request());
        let verdict = match found {
            None => self.refused(Status::MultipleTokens, None),
            Some(found) if found.is_empty() => self.refused(Status::Missing, None),
            Some(found) => self.check_all(found, expected, d),
        };
        match (verdict, expected.allow) {
            (Err(_), Some(Allowance::MissingOrFailed))
            | (Err(Status::Missing), Some(Allowance::Missing)) => Ok(()),
            (verdict, _) => verdict,
        }
    }

    /// Envoy looks at the last place first, and what it found there last counts.
    fn check_all(
        &mut self,
        found: Vec<Found<'c>>,
        expected: Expected<'c>,
        d: &mut Decoding<'_, 'c>,
    ) -> Result<(), Status> {
        let mut verdict = Ok(());
        for found in found.into_iter().rev() {
            verdict = self.check(found, expected, d);
            if verdict.is_err() && expected.allow.is_none() {
                break;
            }
        }
        verdict
    }

    fn check(
        &mut self,
        found: Found<'c>,
        expected: Expected<'c>,
        d: &mut Decoding<'_, 'c>,
    ) -> Result<(), Status> {
        let cached = expected
            .provider
            .and_then(|index| self.cached(index, &found.text));
        let token = match &cached {
            Some(token) => Rc::clone(token),
            None => match Token::parse(&found.text) {
                Ok(token) => Rc::new(token),
                Err(status) => return self.refused(status, expected.provider),
            },
        };
        let issuers = &found.location.issuers;
        if !issuers.is_empty() && !issuers.contains(&token.issuer) {
            return self.refused(Status::UnknownIssuer, expected.provider);
        }
        let index = expected
            .provider
            .or_else(|| self.provider_of(&token.issuer));
        let config = self.config;
        let Some((index, provider)) = index.and_then(|at| Some((at, config.providers.get(at)?)))
        else {
            return self.refused(Status::UnknownIssuer, None);
        };
        if let Err(status) = self.is_acceptable(&token, provider, expected.audiences) {
            return self.refused(status, Some(index));
        }
        if cached.is_none()
            && let Err(status) = provider.keys.verify(&token)
        {
            return self.refused(status, Some(index));
        }
        self.clears_route |= outputs::tell(&token, &provider.outputs, d.edits, &mut self.said);
        if !provider.forward {
            locations::remove(found.location, d);
        }
        if cached.is_none()
            && expected.provider.is_some()
            && let Some(cache) = self.worker.cache(index)
        {
            cache.borrow_mut().insert(found.text, token);
        }
        Ok(())
    }

    /// A token that was found valid before, and that is not too old now.
    fn cached(&self, provider: usize, text: &str) -> Option<Rc<Token>> {
        let cache = self.worker.cache(provider);
        let token = cache.and_then(|cache| {
            let mut cache = cache.borrow_mut();
            let token = cache.get(text)?;
            let skew = self.config.providers.get(provider)?.clock_skew;
            if token.check_time(self.now, skew).is_err() {
                cache.remove(text);
                return None;
            }
            Some(token)
        });
        match &token {
            Some(_) => self.worker.stats.jwt_cache_hit.inc(),
            None => self.worker.stats.jwt_cache_miss.inc(),
        }
        token
    }

    /// Who issues tokens of this issuer; else who issues tokens of any.
    fn provider_of(&self, issuer: &str) -> Option<usize> {
        let position = |issuer: &str| {
            let mut providers = self.config.providers.iter();
            providers.position(|provider| provider.issuer == issuer)
        };
        position(issuer).or_else(|| position(""))
    }

    /// Whether all but the signature is as it should be.
    fn is_acceptable(
        &self,
        token: &Token,
        provider: &JwtProvider,
        audiences: Option<&[String]>,
    ) -> Result<(), Status> {
        if let Some(subjects) = &provider.subjects
            && !subjects.matches(&token.subject)
        {
            return Err(Status::VerificationFails);
        }
        if !is_lifetime_allowed(token, provider, self.now) {
            return Err(Status::VerificationFails);
        }
        token.check_time(self.now, provider.clock_skew)?;
        let allowed = audiences.unwrap_or(&provider.audiences);
        let is_allowed = |audience: &String| {
            let audience = comparable_audience(audience);
            allowed.iter().any(|allowed| allowed == audience)
        };
        match allowed.is_empty() || token.audiences.iter().any(is_allowed) {
            true => Ok(()),
            false => Err(Status::AudienceNotAllowed),
        }
    }

    /// Says why a token was refused where the provider wants it said. Without a token the provider is
    /// known if there is one alone, as in Envoy.
    fn refused(&mut self, status: Status, provider: Option<usize>) -> Result<(), Status> {
        let providers = &self.config.providers;
        let provider = match (provider, &providers[..]) {
            (Some(index), _) => providers.get(index),
            (None, [alone]) => Some(alone),
            _ => None,
        };
        let key = provider.map_or("", |of| &of.outputs.failed_status_in_metadata);
        if !key.is_empty() {
            self.said.insert(key.to_owned(), outputs::failure(status));
        }
        Err(status)
    }
}

fn is_lifetime_allowed(token: &Token, provider: &JwtProvider, now: Duration) -> bool {
    match provider.max_lifetime {
        None => token.expires > 0 || !provider.require_expiration,
        Some(longest) => {
            let left = Duration::from_secs(token.expires).saturating_sub(now);
            token.expires > 0 && left < longest
        }
    }
}
