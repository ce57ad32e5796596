//! The bench suite of divisi: the same workloads on divisi and its peers.
//!
//! A [`workload`] is written once, generic over what a runtime can do; [`peer`] names those abilities and [`peers`] provides them by each
//! runtime's own means, the way its documentation recommends. Two ways to run them:
//!
//! - `cargo bench [-- FILTER]`: criterion, one target per theme, with its baselines (`--save-baseline`, `--baseline`). The peers run one
//!   after the other, so compare a runtime with its own past here.
//! - `cargo run --release -p divisi-benches --bin compare -- [FILTER..]`: the peers interleaved, round by round, so that a change of the
//!   machine's mood meets all of them alike. Compare runtimes with each other here.
//!
//! Every number is a time per operation; each workload says what its operation is. `DIVISI_BENCH_WORKERS` sets the number of workers of
//! every peer (the number of cores without it).

#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
pub mod floor;
pub mod harness;
pub mod interleave;
pub mod job;
#[cfg(target_os = "linux")]
pub mod load;
pub mod peer;
pub mod peers;
pub mod record;
pub mod report;
pub mod sample;
#[cfg(target_os = "linux")]
pub mod server;
#[cfg(target_os = "linux")]
pub mod suite;
pub mod verdict;
pub mod workload;
