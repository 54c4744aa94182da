//! The end of a container's log, for errors: the logs themselves go with the playground.

use std::{fs, path::Path};

/// How many lines an error repeats.
const LINES: usize = 10;

/// The last lines of the log `file` of container `name`, each on a line of its own.
#[must_use]
pub fn tail(file: &Path, name: &str) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter()
        .map(|line| format!("\n  {name}: {line}"))
        .collect()
}

/// The same of every log in the directory of a pod.
#[must_use]
pub fn tails(pod: &Path) -> String {
    let mut logs: Vec<_> = fs::read_dir(pod)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    let name = |file: &Path| {
        file.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    logs.iter().map(|file| tail(file, &name(file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_each_log_is_repeated() {
        let dir = tempfile::tempdir().expect("directory");
        let long: String = (0..20).map(|number| format!("line {number}\n\n")).collect();
        fs::write(dir.path().join("app.log"), long).expect("write");
        fs::write(dir.path().join("proxy.log"), "only").expect("write");
        fs::write(dir.path().join("app.spec.json"), "{}").expect("write");
        let text = tails(dir.path());
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines[0], "  app: line 10");
        assert_eq!(lines[LINES], "  proxy: only");
    }
}
