//! The two thread pools of the divisi async runtime.
//!
//! | pool | for closures that | threads | queue |
//! |---|---|---|---|
//! | [`BlockingPool`] | wait: files, DNS, C libraries, locks | as many as there are waiting closures, up to a cap; they end when idle | first in, first out, past the cap |
//! | [`ComputePool`] | compute | one a core, rayon's, for life, nicer than the threads that do I/O | by priority and age, bounded if wanted |
//!
//! Both know no runtime: they are given a registry to list their jobs in, and hooks. A job is an ordinary task cell, so
//! its handle is an ordinary [`JoinHandle`](divisi_task::JoinHandle), which can be awaited on any executor, and cancelled;
//! its panic comes back through it.
//!
//! ```
//! use divisi_blocking::{BlockingPool, ComputePool};
//!
//! let blocking = BlockingPool::builder().build()?;
//! let compute = ComputePool::builder().threads(2).build()?;
//! futures_lite::future::block_on(async {
//!     let text = blocking.spawn(|| std::fs::read_to_string("/proc/self/stat"))?.await?;
//!     let length = compute.offload(move || text.map_or(0, |text| text.len()))?.await?;
//!     println!("{length}");
//! #   Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod blocking;
mod census;
pub mod compute;
mod error;
mod job;
mod offload;
mod stuck;
mod sync;
mod thread;

pub use blocking::{BlockingMetrics, BlockingPool, BlockingPoolBuilder, CpuBoundJob};
pub use compute::{
    ComputeMetrics, ComputePool, ComputePoolBuilder, ComputePriority, ComputeYield, OffloadOptions,
    OffloadScope, Parallel, Permit, Priority, Reserve, offload_scope,
};
pub use error::{BuildError, SpawnError, TryOffloadError};
pub use offload::{Offload, Work};
pub use stuck::StuckJob;
pub use thread::{ThreadBody, ThreadSpawner};
