//! What the macros refuse, and with which words at which place.
//!
//! Each file in `tests/ui` is compiled on its own. It names what the compiler must say: a comment `//~ COLUMN MESSAGE` demands an error in
//! the nearest line above that is not such a comment. A file with errors that it does not name, or without one that it names, fails.

#![forbid(unsafe_code)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One error: file name, line, column, message.
type Complaint = (String, usize, usize, String);

#[test]
fn misuse_is_reported_at_the_token_that_is_wrong() {
    let files = ui_files();
    assert!(!files.is_empty(), "no files in tests/ui");
    let expected: BTreeSet<_> = files.iter().flat_map(|file| demanded(file)).collect();
    let reported = compile(&files);
    let missing: Vec<_> = expected.difference(&reported).collect();
    let surplus: Vec<_> = reported.difference(&expected).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "not reported: {missing:#?}\nnot expected: {surplus:#?}"
    );
}

fn ui_files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let entries = fs::read_dir(directory).expect("tests/ui can be listed");
    entries
        .map(|entry| entry.expect("tests/ui can be listed").path())
        .collect()
}

fn file_name(file: &Path) -> String {
    file.file_name()
        .expect("files have names")
        .to_str()
        .expect("names are ASCII")
        .to_owned()
}

/// The errors that the comments in a file ask for.
fn demanded(file: &Path) -> Vec<Complaint> {
    let text = fs::read_to_string(file).expect("a file of tests/ui can be read");
    let mut complaints = Vec::new();
    let mut code_line = 0;
    for (index, line) in text.lines().enumerate() {
        match line.trim_start().strip_prefix("//~ ") {
            Some(demand) => {
                let (column, message) = demand.split_once(' ').expect("`//~ COLUMN MESSAGE`");
                let column = column.parse().expect("a column number after `//~`");
                complaints.push((file_name(file), code_line, column, message.to_owned()));
            }
            None => code_line = index + 1,
        }
    }
    complaints
}

/// The errors that the compiler reports for the files, each a program of one package outside of the workspace.
fn compile(files: &[PathBuf]) -> BTreeSet<Complaint> {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui");
    let programs = package.join("src/bin");
    // Left over from a run with other files.
    let _ = fs::remove_dir_all(&programs);
    fs::create_dir_all(&programs).expect("the target directory can be written to");
    for file in files {
        fs::copy(file, programs.join(file_name(file))).expect("a file of tests/ui can be copied");
    }
    let manifest = format!(
        "[package]\nname = \"ui\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [dependencies]\ndivisi-macros = {{ path = {:?} }}\n[workspace]\n",
        env!("CARGO_MANIFEST_DIR"),
    );
    fs::write(package.join("Cargo.toml"), manifest)
        .expect("the target directory can be written to");

    let output = Command::new(env!("CARGO"))
        .args([
            "check",
            "--offline",
            "--quiet",
            "--keep-going",
            "--all-targets",
            "--message-format=short",
        ])
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .env("CARGO_TERM_COLOR", "never")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo can be run");
    let report = String::from_utf8(output.stderr).expect("cargo prints UTF-8");
    let complaints: BTreeSet<_> = report.lines().filter_map(complaint).collect();
    assert!(!complaints.is_empty(), "nothing was reported:\n{report}");
    complaints
}

/// `src/bin/file.rs:3:5: error[E0000]: message`
fn complaint(line: &str) -> Option<Complaint> {
    let mut parts = line.strip_prefix("src/bin/")?.splitn(4, ':');
    let (file, line, column) = (
        parts.next()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    let (severity, message) = parts.next()?.split_once(": ")?;
    severity
        .trim_start()
        .starts_with("error")
        .then(|| (file.to_owned(), line, column, message.to_owned()))
}
