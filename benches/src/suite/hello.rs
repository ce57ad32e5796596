//! What it takes to build a program that starts a runtime and sleeps.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Extent, Work, output, workspace};
use crate::record::{OURS, Row, Rule, Unit};

/// A name, its dependency, and the program.
const PROGRAMS: [(&str, &str, &str); 4] = [
    (
        OURS,
        "divisi = { path = \"DIVISI\" }",
        "fn main() { divisi::run(divisi::time::sleep(std::time::Duration::from_millis(1))) }",
    ),
    (
        "tokio (full)",
        "tokio = { version = \"1\", features = [\"full\"] }",
        "#[tokio::main]\nasync fn main() { tokio::time::sleep(std::time::Duration::from_millis(1)).await }",
    ),
    (
        // With the compute pool that divisi brings along.
        "tokio (full) + rayon",
        "tokio = { version = \"1\", features = [\"full\"] }\nrayon = \"1\"",
        "#[tokio::main]\nasync fn main() { tokio::time::sleep(std::time::Duration::from_millis(1)).await }",
    ),
    (
        "smol",
        "smol = \"2\"",
        "fn main() { smol::block_on(async { smol::Timer::after(std::time::Duration::from_millis(1)).await; }) }",
    ),
];

const LIMIT: Duration = Duration::from_secs(900);

/// One job: with the builds, or with the counting alone for the quick table.
pub fn jobs(_: Extent) -> Vec<super::Job> {
    vec![super::Job::new(
        "hello-world".to_owned(),
        LIMIT,
        Work::Hello,
    )]
}

/// Measures it.
///
/// # Errors
///
/// When a program cannot be built, for example because a dependency was never downloaded and there is no registry.
pub fn run(extent: Extent) -> Result<Vec<Row>, String> {
    let group = "hello world";
    let mut crates = Row::new(
        group,
        "crates built, itself not counted",
        0,
        Unit::Count,
        Rule::Exact,
    );
    let mut build = Row::new(
        group,
        "build from nothing, debug",
        0,
        Unit::Nanoseconds,
        Rule::Ranges,
    );
    let mut projects = Vec::new();
    for program in &PROGRAMS {
        let directory = project(program)?;
        crates.push(program.0, dependencies(&directory)?);
        projects.push((program.0, directory));
    }
    if extent == Extent::Quick {
        return Ok(vec![crates]);
    }
    const ROUNDS: usize = 3;
    for round in 0..ROUNDS {
        for turn in 0..projects.len() {
            let (name, directory) = &projects[(round + turn) % projects.len()];
            build.push(name, time_to_build(directory)?);
        }
    }
    Ok(vec![crates, build])
}

/// Writes the program's package, outside of our workspace's members, with our lock file so that versions are the ones compared elsewhere.
fn project((name, dependency, main): &(&str, &str, &str)) -> Result<PathBuf, String> {
    let directory = super::results(Extent::Default)
        .with_file_name("hello")
        .join(name.replace([' ', '(', ')', '+'], ""));
    let failed = |error| format!("{}: {error}", directory.display());
    fs::create_dir_all(directory.join("src")).map_err(failed)?;
    let divisi = workspace().join("crates/divisi");
    let dependency = dependency.replace("DIVISI", &divisi.display().to_string());
    let manifest = format!(
        "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{dependency}\n"
    );
    fs::write(directory.join("Cargo.toml"), manifest).map_err(failed)?;
    fs::write(directory.join("src/main.rs"), main).map_err(failed)?;
    fs::copy(workspace().join("Cargo.lock"), directory.join("Cargo.lock")).map_err(failed)?;
    output(cargo(&directory).args(["fetch", "--quiet"]), LIMIT)?;
    Ok(directory)
}

fn cargo(directory: &Path) -> Command {
    let mut command = Command::new("cargo");
    command
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", directory.join("target"))
        .stderr(Stdio::inherit());
    command
}

fn dependencies(directory: &Path) -> Result<f64, String> {
    let host = output(Command::new("rustc").args(["--print", "host-tuple"]), LIMIT)?;
    let arguments = [
        "tree",
        "--quiet",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--edges",
        "normal,build",
    ];
    let text = output(
        cargo(directory)
            .args(arguments)
            .args(["--target", host.trim()]),
        LIMIT,
    )?;
    let mut lines: Vec<_> = text
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    Ok(lines.len().saturating_sub(1) as f64)
}

fn time_to_build(directory: &Path) -> Result<f64, String> {
    let target = directory.join("target");
    if target.exists() {
        fs::remove_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
    }
    let start = Instant::now();
    output(
        cargo(directory).args(["build", "--quiet", "--offline"]),
        LIMIT,
    )?;
    Ok(start.elapsed().as_nanos() as f64)
}
