//! String matchers and regular expressions.

use regex::Regex;
use weir_api::xds::envoy::r#type::matcher::v3 as pb;

use super::at::{At, take};
use crate::config::matcher::{StringMatcher, StringPattern};

/// An RE2 expression, with what its owner needs of it.
pub(super) enum Anchor {
    /// Must match all of a text.
    Whole,
    /// May match anywhere in it.
    Anywhere,
}

pub(super) fn string_matcher(at: &At<'_>, message: pb::StringMatcher) -> Option<StringMatcher> {
    use pb::string_matcher::MatchPattern as Pattern;

    take!(at, message => pb::StringMatcher { supported: ignore_case, match_pattern; });
    let non_empty = |name: &str, text: String| super::value::non_empty(&at.field(name), text);
    let pattern = match at.required(match_pattern)? {
        Pattern::Exact(text) => StringPattern::Exact(text),
        Pattern::Prefix(text) => StringPattern::Prefix(non_empty("prefix", text)),
        Pattern::Suffix(text) => StringPattern::Suffix(non_empty("suffix", text)),
        Pattern::Contains(text) => StringPattern::Contains(non_empty("contains", text)),
        Pattern::SafeRegex(message) => {
            if ignore_case {
                at.field("ignore_case")
                    .error("has no effect on safe_regex; use (?i)");
            }
            StringPattern::Regex(regex(&at.field("safe_regex"), message, &Anchor::Whole)?)
        }
        Pattern::Custom(custom) => {
            at.field("custom").unsupported(custom.name);
            return None;
        }
    };
    Some(StringMatcher {
        pattern,
        ignore_case,
    })
}

pub(super) fn regex(at: &At<'_>, message: pb::RegexMatcher, anchor: &Anchor) -> Option<Regex> {
    // RE2 is the only engine, so naming it says nothing.
    take!(at, message => pb::RegexMatcher {
        supported: regex;
        ignored: engine_type = "RE2's language is the only one";
    });
    let at = at.field("regex");
    if regex.is_empty() {
        at.error("must not be empty");
        return None;
    }
    let translated = from_re2(&regex);
    let text = match anchor {
        Anchor::Whole => format!("^(?:{translated})$"),
        Anchor::Anywhere => translated,
    };
    Regex::new(&text)
        .map_err(|error| {
            let reason = error.to_string();
            let reason = reason
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            at.error(format!("{regex:?}: {reason}"));
        })
        .ok()
}

/// A pattern and what replaces its matches, for [`Regex::replace_all`].
pub(super) fn substitution(
    at: &At<'_>,
    message: pb::RegexMatchAndSubstitute,
) -> Option<(Regex, String)> {
    take!(at, message => pb::RegexMatchAndSubstitute { supported: pattern, substitution; });
    let pattern = at.field("pattern").required(pattern)?;
    let pattern = regex(&at.field("pattern"), pattern, &Anchor::Anywhere)?;
    let at = at.field("substitution");
    let template = template(&substitution, pattern.captures_len());
    if template.is_none() {
        // Envoy takes it and then leaves every path as it is.
        at.unsupported(format!(
            "{substitution:?}, which refers to a group that is not there"
        ));
    }
    Some((pattern, template?))
}

/// Rewrites RE2's `\1` to `${1}`; none if a group does not exist or a backslash stands alone.
fn template(substitution: &str, groups: usize) -> Option<String> {
    let mut template = String::with_capacity(substitution.len());
    let mut rest = substitution.chars();
    while let Some(character) = rest.next() {
        match character {
            '$' => template.push_str("$$"),
            '\\' => match rest.next()? {
                '\\' => template.push('\\'),
                digit => {
                    let group = digit
                        .to_digit(10)
                        .filter(|group| (*group as usize) < groups)?;
                    template.push_str(&format!("${{{group}}}"));
                }
            },
            other => template.push(other),
        }
    }
    Some(template)
}

/// Spells an RE2 expression for the `regex` crate. The languages are one but for this: RE2's
/// `\d`, `\w`, `\s` and `\b` mean ASCII, and in its classes `[`, `&` and `~` mean themselves.
fn from_re2(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    let mut class_start: Option<usize> = None;
    while let Some(character) = rest.next() {
        let in_class = class_start.is_some();
        match character {
            '\\' => {
                let Some(escaped) = rest.next() else {
                    translated.push('\\');
                    break;
                };
                match ascii_class(escaped, in_class) {
                    Some(class) => translated.push_str(class),
                    None => translated.extend(['\\', escaped]),
                }
            }
            '[' if !in_class => {
                translated.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    translated.push('^');
                }
                class_start = Some(translated.len());
            }
            '[' if rest.peek() == Some(&':') => {
                // `[:alpha:]`: copied whole, for its own bracket does not close the class.
                translated.push('[');
                while let Some(next) = rest.next_if(|next| *next != ']') {
                    translated.push(next);
                }
                translated.extend(rest.next());
            }
            '[' | '&' | '~' if in_class => translated.extend(['\\', character]),
            // The first `]` of a class means itself.
            ']' if class_start == Some(translated.len()) => translated.push_str("\\]"),
            ']' => {
                class_start = None;
                translated.push(']');
            }
            other => translated.push(other),
        }
    }
    translated
}

fn ascii_class(escaped: char, in_class: bool) -> Option<&'static str> {
    Some(match (escaped, in_class) {
        ('d', true) => "0-9",
        ('d', false) => "[0-9]",
        ('D', _) => "[^0-9]",
        ('w', true) => "0-9A-Za-z_",
        ('w', false) => "[0-9A-Za-z_]",
        ('W', _) => "[^0-9A-Za-z_]",
        ('s', true) => "\\t\\n\\x0c\\r ",
        ('s', false) => "[\\t\\n\\x0c\\r ]",
        ('S', _) => "[^\\t\\n\\x0c\\r ]",
        ('b', false) => "(?-u:\\b)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn re2_expressions_mean_what_they_mean_in_re2() {
        for (pattern, text, matches) in [
            ("/item/\\d+", "/item/12", true),
            ("/item/\\d+", "/item/٣", false),
            ("[\\d-]+", "12-3", true),
            ("[\\w.]+", "a_b.c", true),
            ("\\W", "é", true),
            ("[[]x", "[x", true),
            ("[]a]+", "]a", true),
            ("[^]a]", "b", true),
            ("[a&&b]+", "a&b", true),
            ("[[:alpha:]_]+", "ab_", true),
            ("a|b", "a", true),
            ("a|b", "ab", false),
            ("a\\bb", "ab", false),
            ("a.*", "a\n", false),
            ("(?i)abc", "ABC", true),
        ] {
            let regex = Regex::new(&format!("^(?:{})$", from_re2(pattern))).expect(pattern);
            assert_eq!(regex.is_match(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn substitutions_refer_to_groups_that_exist() {
        assert_eq!(
            template("/a/\\1/$x\\\\", 2).as_deref(),
            Some("/a/${1}/$$x\\")
        );
        assert_eq!(template("\\0", 1).as_deref(), Some("${0}"));
        for wrong in ["\\2", "\\a", "\\"] {
            assert_eq!(template(wrong, 2), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_expression_makes_the_translation_panic(pattern in "[\\[\\]\\\\^:&~a-d0-9(){}é-]{0,24}") {
            let _ = Regex::new(&from_re2(&pattern));
        }
    }
}
