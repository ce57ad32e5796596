//! The bench suite of divisi: the same workloads on divisi and its peers.
//!
//! A [`workload`] is written once, generic over what a runtime can do; [`peer`] names those abilities and [`peers`] provides them by each
//! runtime's own means, the way its documentation recommends. Three ways to run them:
//!
//! - The bin `suite` (`just bench`): everything, unattended, interleaved, with servers under load from other processes ([`server`], [`load`]);
//!   writes a page ([`report`]) with verdicts ([`verdict`]).
//! - The bin `compare`: single workloads with the peers interleaved, as a quick table.
//! - `cargo bench [-- FILTER]`: criterion, one target per theme, with its baselines (`--save-baseline`, `--baseline`). The peers run one
//!   after the other, so compare a runtime with its own past here.
//!
//! A workload's number is a time per operation; each says what its operation is. `DIVISI_BENCH_WORKERS` sets the number of workers of
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
