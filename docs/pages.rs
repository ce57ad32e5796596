//! The guide's pages as doc tests, so that what they show compiles and runs.
//!
//! Every page named in `src/SUMMARY.md` is listed below; a test holds the two lists together and follows the links between pages.

#![forbid(unsafe_code)]

macro_rules! pages {
    ($($name:ident: $path:literal,)+) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("src/", $path))]
            mod $name {}
        )+

        /// The pages whose code is tested.
        #[cfg(test)]
        const PAGES: &[&str] = &[$($path),+];
    };
}

pages! {
    introduction: "introduction.md",
    which_primitive: "which-primitive.md",
    guide_the_event_loop: "guide/the-event-loop.md",
    guide_streams_and_protocols: "guide/streams-and-protocols.md",
    guide_processes_signals_files: "guide/processes-signals-files.md",
    guide_testing_and_debugging: "guide/testing-and-debugging.md",
    guide_building_a_server: "guide/building-a-server.md",
    guide_coming_from_tokio: "guide/coming-from-tokio.md",
    guide_structured_concurrency: "guide/structured-concurrency.md",
    guide_choosing: "guide/choosing.md",
    guide_coming_from_asyncio: "guide/coming-from-asyncio.md",
    guide_cpu_work: "guide/cpu-work.md",
    guide_gathering: "guide/gathering.md",
    guide_tuning: "guide/tuning.md",
    examples: "examples.md",
    guide_mixing: "guide/mixing-sync-and-async.md",
    architecture: "architecture.md",
    divisi: "crates/divisi.md",
    task: "crates/task.md",
    scheduler: "crates/scheduler.md",
    reactor: "crates/reactor.md",
    blocking: "crates/blocking.md",
    sync: "crates/sync.md",
    macros: "crates/macros.md",
    measuring: "measuring.md",
    performance: "performance.md",
    decision_0001: "decisions/0001-linux-epoll-through-polling.md",
    decision_0002: "decisions/0002-one-reactor-per-worker.md",
    decision_0003: "decisions/0003-own-task-cell.md",
    decision_0004: "decisions/0004-parking-lot-0.12.md",
    decision_0005: "decisions/0005-compute-threads-nice-10.md",
    decision_0006: "decisions/0006-spares-leave-workers-stay.md",
    decision_0007: "decisions/0007-helper-runs-alone.md",
    decision_0008: "decisions/0008-ticker-off.md",
    decision_0009: "decisions/0009-cancelling-unwinds.md",
    decision_0010: "decisions/0010-lanes-not-rayon.md",
    decision_0011: "decisions/0011-own-set-of-futures.md",
    decision_0012: "decisions/0012-slow-lane.md",
    decision_0013: "decisions/0013-futures-that-move-cheaply.md",
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use super::PAGES;

    fn source() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
    }

    fn read(page: &str) -> String {
        fs::read_to_string(source().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
    }

    /// Where the Markdown links of a text lead, fragments cut off.
    fn links(text: &str) -> impl Iterator<Item = &str> {
        text.split("](").skip(1).filter_map(|rest| {
            let (target, _) = rest.split_once(')')?;
            let (path, _) = target.split_once('#').unwrap_or((target, ""));
            (!path.is_empty() && !path.contains("://")).then_some(path)
        })
    }

    fn markdown_files(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).expect("the guide's directories can be listed");
        let paths =
            entries.map(|entry| entry.expect("the guide's directories can be listed").path());
        paths
            .flat_map(|path| {
                if path.is_dir() {
                    markdown_files(&path)
                } else {
                    vec![path]
                }
            })
            .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
            .collect()
    }

    #[test]
    fn every_page_is_in_the_summary_and_its_code_is_tested() {
        let summary = read("SUMMARY.md");
        let summarized: BTreeSet<_> = links(&summary).map(str::to_owned).collect();
        let tested: BTreeSet<_> = PAGES.iter().map(|page| (*page).to_owned()).collect();
        let present: BTreeSet<_> = markdown_files(&source())
            .iter()
            .map(|path| {
                path.strip_prefix(source())
                    .expect("lies below")
                    .display()
                    .to_string()
            })
            .filter(|page| page != "SUMMARY.md")
            .collect();
        assert_eq!(
            summarized, present,
            "SUMMARY.md and the files in docs/src differ"
        );
        assert_eq!(
            tested, present,
            "docs/pages.rs and the files in docs/src differ"
        );
    }

    #[test]
    fn links_between_pages_lead_somewhere() {
        for page in PAGES {
            let text = read(page);
            let directory = source()
                .join(page)
                .parent()
                .expect("a page is in a directory")
                .to_owned();
            for link in links(&text) {
                assert!(
                    directory.join(link).exists(),
                    "{page} links to {link}, which does not exist"
                );
            }
        }
    }
}
