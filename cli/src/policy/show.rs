//! What policies would do, for people.

use std::fmt::Write as _;

use weir_api::flows::{FlowProtocol, FlowVerdict};

use super::judge::{Change, Outcome, Outlook};

/// Columns of a line.
const WIDTH: usize = 100;

/// Two lines for each flow that changes, and one for the others.
pub(super) fn text(outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let changes = &outcome.changes;
    let minutes = outcome.minutes;
    let _ = match changes.as_slice() {
        [] => writeln!(
            text,
            "nothing would change for the flows of the last {minutes} minutes"
        ),
        some => {
            let flows = plural(some.len(), "flow");
            writeln!(
                text,
                "{flows} of the last {minutes} minutes would change or cannot be told"
            )
        }
    };
    for change in changes {
        let head = format!(
            "{:9} {:>7}  {} -> {}/{}:{}  {}",
            after(change.after),
            change.count,
            source(change),
            change.namespace,
            change.workload,
            change.port,
            asked(change),
        );
        let _ = writeln!(
            text,
            "{}\n{:19}{}",
            fit(&head, WIDTH),
            "",
            fit(&why(change), WIDTH - 19)
        );
    }
    let unchanged = &outcome.unchanged;
    let flows = plural(unchanged.flows, "flow");
    let _ = writeln!(text, "unchanged: {flows}, {} times", unchanged.count);
    let not_kept = outcome.not_kept;
    if not_kept.allowed + not_kept.denied > 0 {
        let _ = writeln!(
            text,
            "not told apart, for want of room: {} allowed and {} denied",
            not_kept.allowed, not_kept.denied
        );
    }
    text
}

fn after(outlook: Outlook) -> &'static str {
    match outlook {
        Outlook::Denied => "denied",
        Outlook::Undecided => "undecided",
        Outlook::Allowed => "allowed",
    }
}

/// `NAMESPACE/ACCOUNT` of an identity of the mesh.
fn source(change: &Change) -> String {
    let Some(identity) = &change.source else {
        return "(no certificate)".to_owned();
    };
    let account = identity.split_once("/ns/").map(|(_, rest)| rest);
    let account = account.and_then(|rest| rest.split_once("/sa/"));
    match account {
        Some((namespace, account)) => format!("{namespace}/{account}"),
        None => identity.clone(),
    }
}

fn asked(change: &Change) -> String {
    if change.protocol == FlowProtocol::Tcp {
        return "tcp".to_owned();
    }
    let method = change.method.as_deref().unwrap_or("(another method)");
    format!("{method} {}", change.path.as_deref().unwrap_or_default())
}

fn why(change: &Change) -> String {
    let before = match change.before {
        FlowVerdict::Allowed => "allowed",
        FlowVerdict::Denied => "denied",
    };
    let why = match (change.after, &change.by) {
        (Outlook::Undecided, _) => format!("depends on {}", change.needs.join(", ")),
        (_, Some(rule)) => format!("by {rule}"),
        (Outlook::Denied, None) => "no ALLOW policy is about it".to_owned(),
        (Outlook::Allowed, None) => "no policy is about it".to_owned(),
    };
    format!("is {before}; {why}")
}

fn plural(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// The text, with its end left out where it is longer than that.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{kept}…")
}
