use super::*;
use crate::http::codec::h1::request::Request;

fn request(head: &str) -> Request {
    let mut request = Request::default();
    let read = request.parse(format!("{head}\r\n\r\n").as_bytes(), 100);
    read.expect(head);
    request
}

fn addition(name: &str, value: &str, append: AppendAction) -> HeaderAddition {
    HeaderAddition {
        name: name.to_owned(),
        value: Format::parse(value).expect(value),
        append,
        keep_empty_value: false,
    }
}

fn lines(fields: &dyn Fields, name: &str) -> Vec<String> {
    let mut lines = Vec::new();
    fields.any_line(name, &mut |line| {
        lines.push(line.into_owned());
        false
    });
    lines
}

fn names(fields: &dyn Fields) -> Vec<String> {
    let mut names = Vec::new();
    fields.any_name(&mut |name| {
        names.push(name.into_owned());
        false
    });
    names
}

#[test]
fn no_edits_hold_no_memory_and_change_nothing() {
    let edits = Edits::default();
    assert!(edits.is_empty());
    assert_eq!(edits.added.capacity() + edits.dropped.capacity(), 0);
    let head = request("GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2");
    let edited = Edited::new(&head, &edits);
    assert_eq!(edited.method(), "GET");
    assert_eq!(edited.path(), "/a");
    assert_eq!(edited.authority(), "h");
    assert_eq!(lines(&edited, "x-a"), ["1", "2"]);
    assert_eq!(names(&edited), ["host", "x-a", "x-a"]);
}

#[test]
fn what_comes_later_sees_what_came_before() {
    let head = request("GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-B: 2");
    let mut edits = Edits::default();
    edits.add("x-a", "3");
    edits.set("x-b", "4");
    edits.add("x-c", "5");
    edits.drop("x-c");
    edits.add("x-c", "6");
    edits.set_path("/b");
    edits.set_path("/c");
    edits.set_method("PUT");
    edits.set_authority("other".to_owned());
    let edited = Edited::new(&head, &edits);
    assert_eq!(lines(&edited, "x-a"), ["1", "3"]);
    assert_eq!(lines(&edited, "x-b"), ["4"]);
    assert_eq!(lines(&edited, "x-c"), ["6"]);
    assert_eq!(names(&edited), ["host", "x-a", "x-a", "x-b", "x-c"]);
    assert_eq!(edited.field(":path").as_deref(), Some("/c"));
    assert_eq!(edited.field(":method").as_deref(), Some("PUT"));
    assert_eq!(edited.field("host").as_deref(), Some("other"));
    assert!(!edits.keeps(b"X-B") && edits.keeps(b"X-A"));
}

#[test]
fn additions_do_as_they_say() {
    use AppendAction::{
        AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd,
    };
    let head = request("GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1");
    for (action, there, absent) in [
        (AppendIfExistsOrAdd, &["1", "v"][..], &["v"][..]),
        (AddIfAbsent, &["1"], &["v"]),
        (OverwriteIfExistsOrAdd, &["v"], &["v"]),
        (OverwriteIfExists, &["v"], &[]),
    ] {
        let changes = [addition("x-a", "v", action), addition("x-b", "v", action)];
        let mut edits = Edits::default();
        for change in &changes {
            edits.append(change, &head, &|_, _| unreachable!("a literal"));
        }
        let edited = Edited::new(&head, &edits);
        assert_eq!(lines(&edited, "x-a"), there, "{action:?}");
        assert_eq!(lines(&edited, "x-b"), absent, "{action:?}");
    }
}

#[test]
fn values_are_filled_in_with_what_was_changed_before() {
    let head = request("GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1");
    let append = AppendAction::AppendIfExistsOrAdd;
    let changes = HeaderChanges {
        remove: vec!["x-a".to_owned()],
        add: vec![
            addition("x-a", "2", append),
            addition("x-b", "%REQ(X-A)%-%REQ(X-NONE?:PATH)%", append),
            addition("x-none", "%REQ(X-NONE)%", append),
        ],
    };
    let mut edits = Edits::default();
    edits.apply(&changes, &head, &|format, edits| {
        let request = Edited::new(&head, edits);
        let values = HeadValues {
            info: &Nothing,
            request: Some(&request),
            response: None,
        };
        rendered(&values)(format, edits)
    });
    let added: Vec<_> = edits.added().collect();
    assert_eq!(added, [("x-a", "2"), ("x-b", "2-/a")]);
}

struct Nothing;

impl Values for Nothing {
    fn append(&self, _: &Command, _: &mut String) -> bool {
        false
    }
}
