//! `weir inject` and `weir uninject`: what the webhook does to pods, done to files.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::Value;
use weir_injector::{
    Config,
    document::{Document, DocumentError, inject_document, uninject_document},
};
use weir_process::exit::{self, Fault};

use crate::output;

mod edit;
mod files;
mod json;
mod node;
mod render;
mod scalar;
mod stream;
mod yaml;

use files::Source;
use stream::{Format, Stream};

/// What is read, of either command.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// File of Kubernetes objects, YAML or JSON; a directory of such files; - is standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// Namespace of objects that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
}

#[derive(Debug, Args)]
pub(crate) struct InjectArgs {
    #[command(flatten)]
    files: FileArgs,
    /// The injector's settings: a file as weir-control takes it, or the ConfigMap that holds one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct UninjectArgs {
    #[command(flatten)]
    files: FileArgs,
}

/// What is done with a document, given the namespace of objects that name none.
type Change<'a> = dyn Fn(Value, &str) -> Result<Document, DocumentError> + 'a;

/// A file after the change.
struct Changed {
    text: String,
    format: Format,
    /// Documents that cannot be changed as they ask to be.
    refused: Vec<DocumentError>,
}

/// Writes the objects with sidecars to standard output.
pub(crate) fn inject(args: &InjectArgs) -> ExitCode {
    let config = match args.config.as_deref().map(files::config).transpose() {
        Ok(config) => config.unwrap_or_default(),
        Err(error) => {
            return exit::failed("weir", format_args!("--config {error}"), Fault::Usage);
        }
    };
    with_config(&args.files, &config)
}

fn with_config(files: &FileArgs, config: &Config) -> ExitCode {
    run(files, &|object, namespace| {
        inject_document(object, namespace, config)
    })
}

/// Writes the objects without sidecars to standard output.
pub(crate) fn uninject(args: &UninjectArgs) -> ExitCode {
    run(&args.files, &uninject_document)
}

fn run(args: &FileArgs, change: &Change<'_>) -> ExitCode {
    let sources = match files::read(&args.filename) {
        Ok(sources) => sources,
        Err(error) => return exit::failed("weir", error, Fault::Usage),
    };
    let (mut changed, mut failed) = (Vec::new(), false);
    for source in &sources {
        match change_source(source, &args.namespace, change) {
            Ok(file) => {
                for error in &file.refused {
                    output::error(&format!("weir: {}: {error}", source.name));
                }
                failed |= !file.refused.is_empty();
                changed.push(file);
            }
            Err(error) => {
                output::error(&format!("weir: {}: {error}", source.name));
                failed = true;
            }
        }
    }
    // All or nothing: the output is often applied at once.
    if failed {
        return ExitCode::FAILURE;
    }
    write(&joined(&changed))
}

/// A pipe that is closed early means that what was applied is not all.
fn write(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = format_args!("standard output: {error}");
            exit::failed("weir", error, Fault::Runtime)
        }
    }
}

fn change_source(
    source: &Source,
    namespace: &str,
    change: &Change<'_>,
) -> Result<Changed, node::SyntaxError> {
    let say = |name: &str, what: &str| output::error(&format!("{}: {name}: {what}", source.name));
    let stream = Stream::read(&source.text)?;
    let (mut text, mut refused) = (String::new(), Vec::new());
    for piece in &stream.pieces {
        let Some(value) = piece.value() else {
            text += piece.text();
            continue;
        };
        let document = match change(value, namespace) {
            Ok(document) => document,
            Err(error) => {
                refused.push(error);
                continue;
            }
        };
        for found in &document.found {
            found.skipped.iter().for_each(|why| say(&found.name, why));
            for warning in &found.warnings {
                say(&found.name, &format!("warning: {warning}"));
            }
        }
        let first_changed = document.found.iter().find(|found| found.changed);
        let Some(first_changed) = first_changed else {
            text += piece.text();
            continue;
        };
        let (new, is_anew) = piece.with(&document.object);
        if is_anew {
            let what = "warning: it is written anew, without its comments";
            say(&first_changed.name, what);
        }
        text += &new;
    }
    Ok(Changed {
        text,
        format: stream.format,
        refused,
    })
}

/// All files in one stream. Where one ends and the next begins there is a mark, unless both are
/// JSON.
fn joined(files: &[Changed]) -> String {
    let mut out = String::new();
    let mut before: Option<Format> = None;
    for file in files.iter().filter(|file| !file.text.trim().is_empty()) {
        if let Some(format) = before {
            if !out.ends_with('\n') {
                out.push('\n');
            }
            let marked = file.text.starts_with("---");
            let both_json = format == Format::Json && file.format == Format::Json;
            if !marked && !both_json {
                out += "---\n";
            }
        }
        out += &file.text;
        before = Some(file.format);
    }
    out
}
